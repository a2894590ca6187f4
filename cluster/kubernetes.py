"""What only Kubernetes asks: names, image, volumes, hosts, secrets by name."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from cluster.monitoring.rule import RUNBOOK
from serve_app.settings import Settings

MAX_NAME = 30  # with our suffixes it stays within what KubeRay allows: RayService 47, RayCronJob 36
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
COMMIT = re.compile(r"[0-9a-f]{40}")
PROCESS_END_S = 20  # of the time a pod has to go, for its processes to end; the rest is for requests and replicas
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})")

# Commits of the checkpoints on the Hugging Face hub: a fleet whose nodes hold different weights mixes vectors.
QWEN3_REVISIONS = {
    "Qwen/Qwen3-Embedding-0.6B": "97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3",
    "Qwen/Qwen3-Embedding-4B": "5cf2132abc99cad020ac570b19d031efec650f2b",
    "Qwen/Qwen3-Embedding-8B": "1d8ad4ca9b3dd8059ad90a75d4983776a23d44af",
}


class Toleration(Settings):
    """Lets pods of models onto nodes that keep other pods away."""

    key: str = Field(min_length=1)
    value: str | None = Field(None, description="Default: any.")
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"


class WeightsSettings(Settings):
    """The volume that a job fills once and every pod reads from."""

    size_gib: int = Field(50, ge=1, description="Size of the volume.")
    storage_class: str | None = Field(None, description="One that offers ReadWriteMany; default: the cluster's own.")
    revisions: dict[str, str] = Field(
        default_factory=lambda: dict(QWEN3_REVISIONS), description="Commit on the hub of every model to download."
    )

    @field_validator("revisions")
    @classmethod
    def _are_commits(cls, revisions: dict[str, str]) -> dict[str, str]:
        for model, revision in revisions.items():
            if not COMMIT.fullmatch(revision):
                raise ValueError(f"{model}: {revision!r} is no commit; give its 40 hexadecimal digits, not a branch")
        return revisions


class RedisSettings(Settings):
    """Where the head keeps what must outlive it."""

    address: str = Field("redis:6379", pattern=r"^[A-Za-z0-9.-]+:[0-9]+$", description="HOST:PORT.")
    secret: str = Field("redis-auth", min_length=1, description="Secret with the password under the key `password`.")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class ExposureSettings(Settings):
    """How requests come in from outside."""

    kind: Literal["ingress", "gateway", "none"] = Field(
        "ingress", description="An Ingress, an HTTPRoute of the Gateway API, or nothing."
    )
    host: str = Field("embed.example.com", min_length=1, description="Host name of the endpoint.")
    ingress_class: str = Field("nginx", min_length=1, description="Class of the Ingress.")
    tls_secret: str = Field("embed-tls", min_length=1, description="Secret with the certificate, for the Ingress.")
    gateway: str = Field("shared", min_length=1, description="Gateway that the HTTPRoute joins.")
    gateway_namespace: str = Field("gateway", min_length=1, description="Namespace of that Gateway.")
    from_namespaces: tuple[str, ...] = Field(
        ("ingress-nginx", "gateway"), description="Namespaces whose pods may reach port 8000."
    )


class UpgradeSettings(Settings):
    """What happens when the pods have to change."""

    strategy: Literal["new-cluster", "none", "incremental"] = Field(
        "new-cluster",
        description="A second cluster beside the first; no change while it runs; or step by step through a Gateway.",
    )
    gateway_class: str = Field("istio", min_length=1, description="Class of the Gateway that KubeRay then makes.")
    max_surge_percent: int = Field(25, ge=1, le=100, description="Size of the second cluster's head start.")
    step_percent: int = Field(10, ge=1, le=100, description="Traffic that moves at a time.")
    interval_s: int = Field(30, ge=1, description="Time between two moves.")

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.step_percent > self.max_surge_percent:
            raise ValueError(
                f"`step_percent` ({self.step_percent}) is above `max_surge_percent` ({self.max_surge_percent})"
            )
        return self


class IngestJobSettings(Settings):
    """The job that reads documents every night."""

    sources: tuple[str, ...] = Field(("s3://corpus/documents",), min_length=1, description="As for `embedctl ingest`.")
    collection: str = Field("documents", min_length=1, description="Collection to write.")
    model: str = Field("", description="Served name; default: the cluster's first model.")
    schedule: str = Field("15 2 * * *", pattern=r"^\S+( \S+){4}$", description="In cron's notation.")
    time_zone: str = Field("Etc/UTC", min_length=1, description="Of the schedule.")
    cpus: int = Field(4, ge=1, description="CPU cores: they parse and cut.")
    memory_gib: int = Field(12, ge=4, description="Main memory.")
    deadline_s: int = Field(6 * 3600, ge=60, description="Longest time for one run.")
    sink_secret: str = Field("embed-sink", min_length=1, description="Secret with the store's address, key `uri`.")
    ledger_gib: int = Field(
        2, ge=1, description="Size of the volume with the ledger, if `ingest.ledger` names no other."
    )
    key_secret: str = Field("embed-ingest-key", min_length=1, description="Secret with an API key, key `key`.")
    mask_secret: str = Field("embed-mask", min_length=1, description="Secret for masking's tokens, key `key`.")
    credentials_secret: str | None = Field(None, description="Secret whose keys become variables, for object stores.")
    sink_ports: tuple[int, ...] = Field((19530, 5432), description="Ports of the store and the ledger.")


class KubernetesSettings(Settings):
    """Where and as what the cluster runs on Kubernetes."""

    name: str = Field("embed", max_length=MAX_NAME, description="Name of the RayService; prefix of all beside it.")
    namespace: str = Field("embed", max_length=63, description="Namespace of all objects.")
    image: str = Field("registry.example/embed-cluster:0.1.0", description="Image with tag or digest; never `latest`.")
    kubectl_image: str = Field(
        "registry.k8s.io/kubectl:v1.33.4", description="Image with kubectl, for the nightly start of ingestion."
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field("IfNotPresent", description="For our image.")
    pull_secret: str | None = Field(None, description="Secret of the registry.")
    exposure: ExposureSettings = ExposureSettings()
    upgrade: UpgradeSettings = UpgradeSettings()
    weights: WeightsSettings = WeightsSettings()
    redis: RedisSettings | None = Field(RedisSettings(), description="Null: the cluster ends with its head.")
    ingest: IngestJobSettings = IngestJobSettings()
    keys_secret: str | None = Field(
        "embed-keys", description="Secret with the file of API keys, key `keys.yaml`; null asks for no key."
    )
    operator_namespace: str = Field("kuberay-system", min_length=1, description="Where KubeRay's operator runs.")
    monitoring_namespace: str = Field("monitoring", min_length=1, description="Where Prometheus runs.")
    monitoring_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels by which Prometheus' operator chooses monitors and rules."
    )
    runbook_url: str = Field(RUNBOOK, min_length=1, description="Address of the runbook, for alerts' links.")
    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels of the nodes that embed.")
    tolerations: tuple[Toleration, ...] = Field(
        (Toleration(key="nvidia.com/gpu"),), description="Taints that pods with GPUs tolerate."
    )
    priority_class: str | None = Field(None, description="PriorityClass of the serving pods.")
    head_cpus: int = Field(2, ge=1, description="CPU cores of the head.")
    head_memory_gib: int = Field(6, ge=2, description="Main memory of the head.")
    termination_grace_s: int | None = Field(
        None,
        ge=30,
        description="Time a pod has when it must go; default: a replica's start, the longest request, and 25 s.",
    )

    @field_validator("name", "namespace")
    @classmethod
    def _is_a_label(cls, value: str) -> str:
        if not DNS_LABEL.fullmatch(value):
            raise ValueError(f"{value!r} must be lower-case letters, digits and hyphens and begin with a letter")
        return value

    @field_validator("image", "kubectl_image")
    @classmethod
    def _is_pinned(cls, image: str) -> str:
        if not IMAGE.fullmatch(image) or image.endswith(":latest"):
            raise ValueError(f"{image!r} must end in a tag other than `latest` or in @sha256:…")
        return image
