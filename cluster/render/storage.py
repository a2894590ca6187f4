"""The weights: one volume, filled once by a job, read by every pod, without the hub ever after."""

from __future__ import annotations

import json
from hashlib import blake2b

from cluster.commands.weights import MARKER
from cluster.config import ClusterConfig
from cluster.kubernetes import KubernetesSettings
from cluster.render.objects import Manifest, job_labels, metadata
from cluster.render.paths import MODELS, directory_of, downloads, uses_volume
from cluster.render.pod_parts import (
    CONTAINER_SECURITY,
    base_spec,
    home_variable,
    image,
    scratch_mounts,
    scratch_volumes,
)

FETCH_CPUS = "1"
FETCH_MEMORY = "2Gi"
WAIT_CPUS = "10m"
WAIT_MEMORY = "32Mi"


def render_storage(config: ClusterConfig) -> list[Manifest]:
    """The claim and the job; nothing for models inside the image."""
    if not uses_volume(config):
        return []
    claim = _claim(config.kubernetes)
    return [claim, _fetch_job(config)] if downloads(config) else [claim]


def weights_claim(settings: KubernetesSettings, read_only: bool) -> Manifest:
    """As a volume of a pod."""
    return {"name": "weights", "persistentVolumeClaim": {"claimName": _name(settings), "readOnly": read_only}}


def weights_wait(config: ClusterConfig) -> list[Manifest]:
    """Init containers that hold a pod back until its models are complete."""
    markers = [str(directory_of(name, revision) / MARKER) for name, revision in downloads(config).items()]
    if not markers:
        return []
    script = 'for marker in "$@"; do until [ -f "$marker" ]; do sleep 5; done; done'
    small = {"cpu": WAIT_CPUS, "memory": WAIT_MEMORY}
    return [
        {
            "name": "weights",
            **image(config.kubernetes),
            "securityContext": CONTAINER_SECURITY,
            "command": ["/bin/sh", "-c", script, "wait", *markers],
            "resources": {"requests": small, "limits": {"memory": WAIT_MEMORY}},
            "volumeMounts": [{"name": "weights", "mountPath": str(MODELS), "readOnly": True}],
        }
    ]


def _name(settings: KubernetesSettings) -> str:
    return f"{settings.name}-weights"


def _claim(settings: KubernetesSettings) -> Manifest:
    spec: Manifest = {
        "accessModes": ["ReadWriteMany"],  # the job writes, pods on all nodes read
        "resources": {"requests": {"storage": f"{settings.weights.size_gib}Gi"}},
    }
    if settings.weights.storage_class is not None:
        spec["storageClassName"] = settings.weights.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(settings, "weights"),
        "spec": spec,
    }


def _fetch_job(config: ClusterConfig) -> Manifest:
    """Runs to its end once; run again it finds the markers and does nothing.

    What a Job runs cannot be changed: the name holds a digest of it, so that another image or model is another Job.
    """
    settings = config.kubernetes
    models = [
        argument
        for name, revision in downloads(config).items()
        for argument in ("--model", f"{name}@{revision}", "--to", str(directory_of(name, revision)))
    ]
    fetch = {
        "name": "fetch",
        **image(settings),
        "securityContext": CONTAINER_SECURITY,
        "env": home_variable(),
        "command": ["embedctl", "weights", *models],
        "resources": {
            "requests": {"cpu": FETCH_CPUS, "memory": FETCH_MEMORY},
            "limits": {"memory": FETCH_MEMORY},
        },
        "volumeMounts": [*scratch_mounts(shared_memory=False), {"name": "weights", "mountPath": str(MODELS)}],
    }
    spec = {
        **base_spec(settings, f"{settings.name}-jobs"),
        "automountServiceAccountToken": False,
        "restartPolicy": "OnFailure",
        "containers": [fetch],
        "volumes": [*scratch_volumes(shared_memory=False), weights_claim(settings, read_only=False)],
    }
    template = {"metadata": {"labels": job_labels(settings, "weights")}, "spec": spec}
    digest = blake2b(json.dumps(template, sort_keys=True).encode(), digest_size=4).hexdigest()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(settings, f"weights-{digest}"),
        "spec": {"backoffLimit": 5, "activeDeadlineSeconds": 4 * 3600, "template": template},
    }
