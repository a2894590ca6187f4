"""Pods of the RayService: the head and its workers."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.grace import drain_s, termination_grace_s
from cluster.render.objects import (
    DASHBOARD_PORT,
    GCS_PORT,
    GROUP_LABEL,
    METRICS_PORT,
    NAME_LABEL,
    SERVE_PORT,
    Manifest,
    serving_labels,
)
from cluster.render.paths import KEYS, MODELS, uses_volume
from cluster.render.pod_parts import (
    CONTAINER_SECURITY,
    base_spec,
    environment,
    image,
    resources,
    scratch_mounts,
    scratch_volumes,
)
from cluster.render.storage import weights_claim, weights_wait
from cluster.render.worker_group import WorkerGroup


def head_template(config: ClusterConfig) -> Manifest:
    """The head runs the controllers and the autoscaler and computes nothing."""
    settings = config.kubernetes
    ports = {
        "gcs-server": GCS_PORT,
        "dashboard": DASHBOARD_PORT,
        "serve": SERVE_PORT,
        "metrics": METRICS_PORT,
    }
    container = {
        "name": "ray-head",
        **image(settings),
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "env": environment(),
        "resources": resources(settings.head_cpus, settings.head_memory_gib),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": scratch_mounts(),
    }
    spec = {
        **base_spec(settings, f"{settings.name}-head"),
        **_priority(settings),
        "terminationGracePeriodSeconds": termination_grace_s(config),
        "automountServiceAccountToken": True,  # the autoscaler asks Kubernetes for pods
        "containers": [container],
        "volumes": scratch_volumes(),
    }
    return {"metadata": {"labels": serving_labels(settings, "head")}, "spec": spec}


def worker_template(config: ClusterConfig, group: WorkerGroup) -> Manifest:
    settings = config.kubernetes
    volumes, mounts = scratch_volumes(), scratch_mounts()
    spec = base_spec(settings, f"{settings.name}-worker")
    if uses_volume(config):
        volumes.append(weights_claim(settings, read_only=True))
        mounts.append({"name": "weights", "mountPath": str(MODELS), "readOnly": True})
        spec["initContainers"] = weights_wait(config)
    if settings.keys_secret is not None:
        volumes.append({"name": "keys", "secret": {"secretName": settings.keys_secret, "defaultMode": 0o440}})
        mounts.append({"name": "keys", "mountPath": str(KEYS), "readOnly": True})
    container = {
        "name": "ray-worker",
        **image(settings),
        "ports": [{"name": "serve", "containerPort": SERVE_PORT}, {"name": "metrics", "containerPort": METRICS_PORT}],
        "env": environment(),
        "resources": resources(group.cpus, group.memory_gib, group.gpus),
        "securityContext": CONTAINER_SECURITY,
        "readinessProbe": readiness(),
        "lifecycle": {"preStop": {"exec": {"command": ["embedctl", "drain", "--seconds", str(drain_s(config))]}}},
        "volumeMounts": mounts,
    }
    spec |= {
        "terminationGracePeriodSeconds": termination_grace_s(config),
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
        "topologySpreadConstraints": _spread(settings, group),
    }
    spec |= _priority(settings) | _where(settings, group)
    labels = {**serving_labels(settings, group.component), GROUP_LABEL: group.name}
    return {"metadata": {"labels": labels}, "spec": spec}


def readiness() -> Manifest:
    """Traffic comes once the pod's proxy knows of a replica. KubeRay's own probe asks the same by a shell and wget, and
    takes the pod out of the Service after a single slow answer; its probe of liveness fits and is left to it.
    """
    return {
        "httpGet": {"path": "/-/healthz", "port": SERVE_PORT},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 2,
    }


def _spread(settings: KubernetesSettings, group: WorkerGroup) -> list[Manifest]:
    selector = {"matchLabels": {NAME_LABEL: settings.name, GROUP_LABEL: group.name}}
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _priority(settings: KubernetesSettings) -> Manifest:
    return {} if settings.priority_class is None else {"priorityClassName": settings.priority_class}


def _where(settings: KubernetesSettings, group: WorkerGroup) -> Manifest:
    """Only pods of models go to the nodes that are kept for them."""
    where: Manifest = {}
    if group.component == "embedder" and settings.node_selector:
        where["nodeSelector"] = dict(settings.node_selector)
    if group.gpus:
        where["tolerations"] = [
            {"key": one.key, "effect": one.effect}
            | ({"operator": "Exists"} if one.value is None else {"operator": "Equal", "value": one.value})
            for one in settings.tolerations
        ]
    return where
