"""What Prometheus' operator is told: which pods to scrape, and when to wake somebody."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.render.objects import COMPONENT_LABEL, NAME_LABEL, Manifest, metadata

KUBERAY_CLUSTER = "ray.io/cluster"  # during an upgrade there are two; alerts know it as `ray_io_cluster`


def render_monitoring(config: ClusterConfig, rules: Manifest) -> list[Manifest]:
    """`rules` holds the rule files' `groups`."""
    settings = config.kubernetes
    about = metadata(settings)
    about["labels"] = {**settings.monitoring_labels, **about["labels"]}
    pods = [
        {"key": NAME_LABEL, "operator": "In", "values": [settings.name, f"{settings.name}-jobs"]},
        {"key": COMPONENT_LABEL, "operator": "In", "values": ["head", "embedder", "router", "ingest"]},
    ]
    monitor: Manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": about,
        "spec": {
            "selector": {"matchExpressions": pods},
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
            "podTargetLabels": [COMPONENT_LABEL, KUBERAY_CLUSTER],
        },
    }
    alerts: Manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": about,
        "spec": rules,
    }
    return [monitor, alerts]
