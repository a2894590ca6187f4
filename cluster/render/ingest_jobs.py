"""Ingestion: one RayJob that reads the sources, and what it needs beside its pods."""

from __future__ import annotations

import shlex

import yaml

from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.objects import (
    DASHBOARD_PORT,
    GCS_PORT,
    METRICS_PORT,
    SERVE_PORT,
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

CONFIG_FOLDER = "/etc/embed/config"
LEDGER_FOLDER = "/var/lib/embed"
LEDGER = f"sqlite:{LEDGER_FOLDER}/ledger.sqlite"
DEAD_LETTERS_EXIT_CODE = 3
START_TIMEOUT_S = 1800
KEEP_S = 3600  # a run's pods, for who wants to read their logs; before the next run they are gone
KEEP_FAILED_S = 8 * 3600


def render_ingest(config: ClusterConfig) -> list[Manifest]:
    """What a run finds when it starts."""
    return [_config_map(config), *_ledger_claim(config)]


def render_ray_job(config: ClusterConfig) -> Manifest:
    """One run, to be created by hand or by the CronJob. Its name is fixed: two at a time would be refused."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(config.kubernetes, "ingest"),
        "spec": job_spec(config),
    }


def ingest_command(config: ClusterConfig) -> str:
    """Dead letters are no failure of the run: an alert tells of them, and the next night would not mend them."""
    settings = config.kubernetes
    wanted = settings.ingest
    model = ["--model", wanted.model] if wanted.model else []
    endpoint = f"http://{settings.name}-serve-svc:{SERVE_PORT}"
    fixed = [*wanted.sources, "--collection", wanted.collection, *model, "--endpoint", endpoint]
    fixed += ["--config", f"{CONFIG_FOLDER}/cluster.yaml", "--prune"]
    return f'embedctl ingest {shlex.join(fixed)} --sink "$EMBED_SINK" || [ $? -eq {DEAD_LETTERS_EXIT_CODE} ]'


def job_spec(config: ClusterConfig) -> Manifest:
    """One pod: the models answer over HTTP, so all that is left is to parse, cut and write."""
    settings = config.kubernetes
    wanted = settings.ingest
    return {
        "entrypoint": ingest_command(config),
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": _submitter(settings),
        "submitterConfig": {"backoffLimit": 1},
        "backoffLimit": 1,  # once more in new pods: what has been written is not written again
        "preRunningDeadlineSeconds": START_TIMEOUT_S,
        "activeDeadlineSeconds": wanted.deadline_s,
        "deletionStrategy": {
            "deletionRules": [
                {"policy": "DeleteSelf", "condition": {"jobStatus": "SUCCEEDED", "ttlSeconds": KEEP_S}},
                {"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": KEEP_FAILED_S}},
                {"policy": "DeleteSelf", "condition": {"jobDeploymentStatus": "Failed", "ttlSeconds": KEEP_FAILED_S}},
            ]
        },
        "rayClusterSpec": {
            **cluster_basics(),
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "1", "object-store-memory": str(OBJECT_STORE_BYTES)},
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
        "resources": _with_cpu_limit(resources(wanted.cpus, wanted.memory_gib), wanted.cpus),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [*scratch_mounts(), {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}],
    }
    volumes = [*scratch_volumes(), {"name": "config", "configMap": {"name": f"{settings.name}-ingest"}}]
    if wanted.credentials_secret is not None:
        container["envFrom"] = [{"secretRef": {"name": wanted.credentials_secret}}]
    if _keeps_ledger(config):
        container["volumeMounts"].append({"name": "ledger", "mountPath": LEDGER_FOLDER})
        volumes.append({"name": "ledger", "persistentVolumeClaim": {"claimName": f"{settings.name}-ledger"}})
    spec = {
        **base_spec(settings, f"{settings.name}-jobs"),
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": {"labels": job_labels(settings, "ingest")}, "spec": spec}


def _mask_variable(config: ClusterConfig) -> Manifest:
    return secret_variable(config.ingest.mask.key_env, config.kubernetes.ingest.mask_secret, "key")


def _with_cpu_limit(wanted: Manifest, cpus: int) -> Manifest:
    """Ray counts a container's cores by its limit; without one it would start workers for the whole node."""
    return {**wanted, "limits": {"cpu": str(cpus), **wanted["limits"]}}


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


def _keeps_ledger(config: ClusterConfig) -> bool:
    return not config.ingest.ledger


def _config_map(config: ClusterConfig) -> Manifest:
    """Ingestion's part of the configuration; secrets come as variables."""
    ingest = config.ingest.model_dump(mode="json", exclude_defaults=True)
    if _keeps_ledger(config):
        ingest["ledger"] = LEDGER
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(config.kubernetes, "ingest"),
        "data": {"cluster.yaml": yaml.safe_dump({"ingest": ingest}, allow_unicode=True)},
    }


def _ledger_claim(config: ClusterConfig) -> list[Manifest]:
    if not _keeps_ledger(config):
        return []
    settings = config.kubernetes
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{settings.ingest.ledger_gib}Gi"}},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(settings, "ledger"),
            "spec": spec,
        }
    ]
