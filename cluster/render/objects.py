"""What all objects have in common: names, labels, and where things are inside a pod."""

from __future__ import annotations

from typing import Any, Final

from cluster.kubernetes import KubernetesSettings

Manifest = dict[str, Any]

SERVE_PORT: Final = 8000
METRICS_PORT: Final = 8080
DASHBOARD_PORT: Final = 8265
GCS_PORT: Final = 6379
AGENT_PORT: Final = 52365
NAME_LABEL: Final = "embed-cluster/name"  # KubeRay selects by `app.kubernetes.io/name`, so pods keep its value
COMPONENT_LABEL: Final = "embed-cluster/component"
GROUP_LABEL: Final = "embed-cluster/group"  # of workers that are alike
PART_OF: Final = {"app.kubernetes.io/part-of": "embed-cluster"}


def serving_labels(settings: KubernetesSettings, component: str) -> dict[str, str]:
    """Of the pods of the RayService. KubeRay's own labels change with every upgrade, these do not."""
    return {NAME_LABEL: settings.name, COMPONENT_LABEL: component, **PART_OF}


def job_labels(settings: KubernetesSettings, component: str) -> dict[str, str]:
    """Of pods that are no part of serving."""
    return {NAME_LABEL: f"{settings.name}-jobs", COMPONENT_LABEL: component, **PART_OF}


def metadata(settings: KubernetesSettings, suffix: str = "") -> Manifest:
    """Of an object of ours; `suffix` tells it from the RayService of the same name."""
    name = f"{settings.name}-{suffix}" if suffix else settings.name
    return {
        "name": name,
        "namespace": settings.namespace,
        "labels": {NAME_LABEL: settings.name, **PART_OF},
    }


def endpoint_service(settings: KubernetesSettings) -> str:
    """The Service inside Kubernetes. KubeRay makes one, whose name changes at every incremental upgrade: then ours."""
    return f"{settings.name}-{'workers' if settings.upgrade.strategy == 'incremental' else 'serve-svc'}"


def secret_variable(variable: str, secret: str, key: str) -> Manifest:
    """An environment variable whose value only the cluster's Secret knows."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def plain_variables(variables: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]
