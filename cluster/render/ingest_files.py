"""Files and volumes of ingestion: its part of the configuration, what runs, and its ledger."""

from __future__ import annotations

import shlex

import yaml

from cluster.config import ClusterConfig
from cluster.render.objects import SERVE_PORT, Manifest, endpoint_service, metadata

CONFIG_FOLDER = "/etc/embed/config"
CONFIG_FILE, SCRIPT_FILE = "cluster.yaml", "ingest.sh"
LEDGER_FOLDER = "/var/lib/embed"
LEDGER = f"sqlite:{LEDGER_FOLDER}/ledger.sqlite"
DEAD_LETTERS_EXIT_CODE = 3


def render_ingest(config: ClusterConfig) -> list[Manifest]:
    """What a run finds when it starts."""
    return [_config_map(config), *_ledger_claim(config)]


def ingest_script(config: ClusterConfig) -> str:
    """A file, because KubeRay and Ray put what they are to run through a shell each, and the first knows no variable.

    Dead letters are no failure of the run: an alert tells of them, and the next night would not mend them.
    """
    settings = config.kubernetes
    wanted = settings.ingest
    model = ["--model", wanted.model] if wanted.model else []
    endpoint = f"http://{endpoint_service(settings)}:{SERVE_PORT}"
    fixed = [*wanted.sources, "--collection", wanted.collection, *model]
    fixed += ["--endpoint", endpoint, "--address", "auto"]  # the pod's own Ray, whose metrics Prometheus reads
    fixed += ["--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}", "--prune"]
    return f'embedctl ingest {shlex.join(fixed)} --sink "$EMBED_SINK" || [ $? -eq {DEAD_LETTERS_EXIT_CODE} ]\n'


def ingest_mounts(config: ClusterConfig) -> list[Manifest]:
    ledger = [{"name": "ledger", "mountPath": LEDGER_FOLDER}] if keeps_ledger(config) else []
    return [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}, *ledger]


def ingest_volumes(config: ClusterConfig) -> list[Manifest]:
    name = config.kubernetes.name
    ledger = {"name": "ledger", "persistentVolumeClaim": {"claimName": f"{name}-ledger"}}
    files = {"name": "config", "configMap": {"name": f"{name}-ingest"}}
    return [files, ledger] if keeps_ledger(config) else [files]


def keeps_ledger(config: ClusterConfig) -> bool:
    """Whether it is a file on a volume: `ingest.ledger` may name a database instead."""
    return not config.ingest.ledger


def _config_map(config: ClusterConfig) -> Manifest:
    """Ingestion's part of the configuration, and what runs; secrets come as variables."""
    ingest = config.ingest.model_dump(mode="json", exclude_defaults=True)
    if keeps_ledger(config):
        ingest["ledger"] = LEDGER
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(config.kubernetes, "ingest"),
        "data": {
            CONFIG_FILE: yaml.safe_dump({"ingest": ingest}, allow_unicode=True),
            SCRIPT_FILE: ingest_script(config),
        },
    }


def _ledger_claim(config: ClusterConfig) -> list[Manifest]:
    if not keeps_ledger(config):
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
