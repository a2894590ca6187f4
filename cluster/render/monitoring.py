"""What Prometheus' operator is told: which pods to scrape, and when to wake somebody."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.render.objects import COMPONENT_LABEL, NAME_LABEL, Manifest, metadata


def render_monitoring(config: ClusterConfig, rules: Manifest) -> list[Manifest]:
    """`rules` holds the rule files' `groups`."""
    settings = config.kubernetes
    pods = [
        {"key": NAME_LABEL, "operator": "In", "values": [settings.name, f"{settings.name}-jobs"]},
        {"key": COMPONENT_LABEL, "operator": "In", "values": ["head", "embedder", "router", "ingest"]},
    ]
    monitor: Manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(settings),
        "spec": {
            "selector": {"matchExpressions": pods},
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
            "podTargetLabels": [COMPONENT_LABEL],
        },
    }
    alerts: Manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(settings),
        "spec": rules,
    }
    return [monitor, alerts]
