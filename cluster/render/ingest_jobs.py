"""Ingestion: one RayJob that reads the sources."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.ingest_files import CONFIG_FOLDER, SCRIPT_FILE, ingest_mounts, ingest_volumes
from cluster.render.objects import (
    DASHBOARD_PORT,
    GCS_PORT,
    METRICS_PORT,
    Manifest,
    job_labels,
    metadata,
    secret_variable,
)
from cluster.render.pod_parts import (
    CONTAINER_SECURITY,
    OBJECT_STORE_BYTES,
    base_spec,
    environment,
    home_variable,
    image,
    resources,
    scratch_mounts,
    scratch_volumes,
)
from cluster.render.rayservice import cluster_basics

START_TIMEOUT_S = 1800
RETRIES = 1  # in new pods: what has been written is not written again
KEEP_PODS_S = 600  # Prometheus has read their counters by then, and the ledger's volume is free for another run
KEEP_S = 3600  # of a run: the log, which its submitter has
KEEP_FAILED_S = 8 * 3600


def render_ray_job(config: ClusterConfig) -> Manifest:
    """The CronJob's run: its name is fixed, so that the one may be watched and removed, and no other."""
    about = metadata(config.kubernetes, "ingest")
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": about, "spec": job_spec(config)}


def render_ray_job_by_hand(config: ClusterConfig) -> Manifest:
    """The same, for `kubectl create`: every one gets a name of its own, whatever is left of those before."""
    job = render_ray_job(config)
    about = dict(job["metadata"])
    return {**job, "metadata": {"generateName": f"{about.pop('name')}-", **about}}


def job_spec(config: ClusterConfig) -> Manifest:
    """One pod: the models answer over HTTP, so all that is left is to parse, cut and write."""
    settings = config.kubernetes
    wanted = settings.ingest
    return {
        "entrypoint": f"/bin/sh {CONFIG_FOLDER}/{SCRIPT_FILE}",
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": _submitter(settings),
        "submitterConfig": {"backoffLimit": 1},
        "backoffLimit": RETRIES,
        "preRunningDeadlineSeconds": START_TIMEOUT_S,
        "activeDeadlineSeconds": wanted.deadline_s,
        "deletionStrategy": {
            "deletionRules": [
                *_deletion({"jobStatus": "SUCCEEDED"}, KEEP_S),
                *_deletion({"jobStatus": "FAILED"}, KEEP_FAILED_S),
                *_deletion({"jobDeploymentStatus": "Failed"}, KEEP_FAILED_S),
            ]
        },
        "rayClusterSpec": {
            **cluster_basics(),
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": str(wanted.cpus), "object-store-memory": str(OBJECT_STORE_BYTES)},
                "template": _pod(config),
            },
        },
    }


def _pod(config: ClusterConfig) -> Manifest:
    settings = config.kubernetes
    wanted = settings.ingest
    variables = [
        secret_variable("EMBED_SINK", wanted.sink_secret, "uri"),
        *([secret_variable("EMBED_API_KEY", wanted.key_secret, "key")] if settings.keys_secret is not None else []),
        *([_mask_variable(config)] if config.ingest.mask.is_on else []),
    ]
    ports = {"gcs-server": GCS_PORT, "dashboard": DASHBOARD_PORT, "metrics": METRICS_PORT}
    container: Manifest = {
        "name": "ray-head",
        **image(settings),
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "env": [*environment(), *variables],
        "resources": resources(wanted.cpus, wanted.memory_gib),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [*scratch_mounts(), *ingest_mounts(config)],
    }
    if wanted.credentials_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": wanted.credentials_secret}}]
    spec = {
        **base_spec(settings, f"{settings.name}-jobs"),
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [*scratch_volumes(), *ingest_volumes(config)],
    }
    return {"metadata": {"labels": job_labels(settings, "ingest")}, "spec": spec}


def _deletion(state: dict[str, str], keep_s: int) -> list[Manifest]:
    return [
        {"policy": "DeleteCluster", "condition": {**state, "ttlSeconds": KEEP_PODS_S}},
        {"policy": "DeleteSelf", "condition": {**state, "ttlSeconds": keep_s}},
    ]


def _mask_variable(config: ClusterConfig) -> Manifest:
    return secret_variable(config.ingest.mask.key_env, config.kubernetes.ingest.mask_secret, "key")


def _submitter(settings: KubernetesSettings) -> Manifest:
    container = {
        "name": "submitter",
        **image(settings),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "env": home_variable(),
        "volumeMounts": scratch_mounts(shared_memory=False),
    }
    spec = {
        **base_spec(settings, f"{settings.name}-jobs"),
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": scratch_volumes(shared_memory=False),
    }
    return {"metadata": {"labels": job_labels(settings, "submitter")}, "spec": spec}
