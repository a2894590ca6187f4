"""A Job that lists dead letters: the ledger is a file on a volume, where nobody outside can read it."""

from __future__ import annotations

from cluster.config import ClusterConfig
from cluster.render.ingest_files import CONFIG_FILE, CONFIG_FOLDER, ingest_mounts, ingest_volumes, keeps_ledger
from cluster.render.objects import Manifest, job_labels, metadata
from cluster.render.pod_parts import (
    CONTAINER_SECURITY,
    base_spec,
    home_variable,
    image,
    scratch_mounts,
    scratch_volumes,
)

KEEP_S = 3600


def render_dead_letters(config: ClusterConfig) -> list[Manifest]:
    """For `kubectl create`; its log is the list. Nothing where the ledger is a database, which `--ledger` reaches."""
    if not keeps_ledger(config):
        return []
    settings = config.kubernetes
    container = {
        "name": "list",
        **image(settings),
        "securityContext": CONTAINER_SECURITY,
        "env": home_variable(),
        "command": ["embedctl", "dlq", "list", "--json", "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}"],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [*scratch_mounts(shared_memory=False), *ingest_mounts(config)],
    }
    spec = {
        **base_spec(settings, f"{settings.name}-jobs"),
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [*scratch_volumes(shared_memory=False), *ingest_volumes(config)],
    }
    about = metadata(settings)
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"generateName": f"{about.pop('name')}-dead-letters-", **about},
            "spec": {
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": KEEP_S,
                "template": {"metadata": {"labels": job_labels(settings, "dead-letters")}, "spec": spec},
            },
        }
    ]
