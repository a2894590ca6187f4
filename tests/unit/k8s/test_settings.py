"""What the section `kubernetes` refuses, and that each of its keys shows in a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cluster.kubernetes import (
    ExposureSettings,
    IngestJobSettings,
    KubernetesSettings,
    RedisSettings,
    Toleration,
    UpgradeSettings,
    WeightsSettings,
)
from ingest.settings import IngestSettings, MaskSettings
from serve_app.settings import ObservabilitySettings, Settings
from tests.unit.k8s.configs import MODEL, rendered

PLAIN = rendered(KubernetesSettings())
CHANGES: list[tuple[KubernetesSettings, str]] = [
    (KubernetesSettings(name="vectors"), "vectors-serve-svc"),
    (KubernetesSettings(namespace="search"), "namespace: search"),
    (KubernetesSettings(image="registry.example/other:2.0"), "registry.example/other:2.0"),
    (KubernetesSettings(kubectl_image="registry.example/kubectl:1.33"), "registry.example/kubectl:1.33"),
    (KubernetesSettings(pull_policy="Always"), "imagePullPolicy: Always"),
    (KubernetesSettings(pull_secret="registry"), "imagePullSecrets"),
    (KubernetesSettings(exposure=ExposureSettings(host="v.example.com")), "v.example.com"),
    (KubernetesSettings(exposure=ExposureSettings(ingress_class="traefik")), "ingressClassName: traefik"),
    (KubernetesSettings(exposure=ExposureSettings(tls_secret="wildcard")), "secretName: wildcard"),
    (KubernetesSettings(exposure=ExposureSettings(kind="gateway", gateway="edge")), "name: edge"),
    (KubernetesSettings(exposure=ExposureSettings(kind="gateway", gateway_namespace="infra")), "namespace: infra"),
    (KubernetesSettings(exposure=ExposureSettings(from_namespaces=("dmz",))), "metadata.name: dmz"),
    (KubernetesSettings(upgrade=UpgradeSettings(strategy="none")), "type: None"),
    (KubernetesSettings(upgrade=UpgradeSettings(strategy="incremental", gateway_class="cilium")), "cilium"),
    (
        KubernetesSettings(upgrade=UpgradeSettings(strategy="incremental", max_surge_percent=77)),
        "maxSurgePercent: 77",
    ),
    (KubernetesSettings(upgrade=UpgradeSettings(strategy="incremental", step_percent=7)), "stepSizePercent: 7"),
    (KubernetesSettings(upgrade=UpgradeSettings(strategy="incremental", interval_s=77)), "intervalSeconds: 77"),
    (KubernetesSettings(weights=WeightsSettings(size_gib=77)), "storage: 77Gi"),
    (KubernetesSettings(weights=WeightsSettings(storage_class="nfs")), "storageClassName: nfs"),
    (KubernetesSettings(weights=WeightsSettings(revisions={MODEL.path: "a" * 40})), "@" + "a" * 40),
    (KubernetesSettings(redis=RedisSettings(address="cache.example:6390")), "port: 6390"),
    (KubernetesSettings(redis=RedisSettings(secret="cache")), "name: cache"),
    (KubernetesSettings(keys_secret="people"), "secretName: people"),
    (KubernetesSettings(operator_namespace="ray-system"), "metadata.name: ray-system"),
    (KubernetesSettings(monitoring_namespace="watch"), "metadata.name: watch"),
    (KubernetesSettings(monitoring_labels={"release": "kube-prometheus-stack"}), "release: kube-prometheus-stack"),
    (
        KubernetesSettings(runbook_url="https://wiki.example/embed"),
        "runbook_url: https://wiki.example/embed#ingeststuck",
    ),
    (KubernetesSettings(node_selector={"pool": "gpu"}), "pool: gpu"),
    (KubernetesSettings(tolerations=(Toleration(key="team", value="ml", effect="NoExecute"),)), "effect: NoExecute"),
    (KubernetesSettings(priority_class="serving"), "priorityClassName: serving"),
    (KubernetesSettings(head_cpus=7), "cpu: '7'"),
    (KubernetesSettings(head_memory_gib=77), "memory: 77Gi"),
    (KubernetesSettings(termination_grace_s=300), "- '280'"),
    (KubernetesSettings(ingest=IngestJobSettings(sources=("s3://b/my docs",))), "'s3://b/my docs'"),
    (KubernetesSettings(ingest=IngestJobSettings(collection="laws")), "--collection laws"),
    (KubernetesSettings(ingest=IngestJobSettings(model="small")), "--model small"),
    (KubernetesSettings(ingest=IngestJobSettings(schedule="0 3 * * 1")), "0 3 * * 1"),
    (KubernetesSettings(ingest=IngestJobSettings(time_zone="Asia/Shanghai")), "Asia/Shanghai"),
    (KubernetesSettings(ingest=IngestJobSettings(cpus=77)), "cpu: '77'"),
    (KubernetesSettings(ingest=IngestJobSettings(memory_gib=77)), "memory: 77Gi"),
    (KubernetesSettings(ingest=IngestJobSettings(deadline_s=7777)), "activeDeadlineSeconds: 7777"),
    (KubernetesSettings(ingest=IngestJobSettings(ledger_gib=77)), "storage: 77Gi"),
    (KubernetesSettings(ingest=IngestJobSettings(sink_secret="store")), "name: store"),
    (KubernetesSettings(ingest=IngestJobSettings(key_secret="robot")), "name: robot"),
    (KubernetesSettings(ingest=IngestJobSettings(credentials_secret="bucket")), "name: bucket"),
    (KubernetesSettings(ingest=IngestJobSettings(sink_ports=(7777,))), "port: 7777"),
]


SECTIONS: dict[str, type[Settings]] = {
    "exposure": ExposureSettings,
    "ingest": IngestJobSettings,
    "redis": RedisSettings,
    "upgrade": UpgradeSettings,
    "weights": WeightsSettings,
}


def leaves(settings: KubernetesSettings) -> set[str]:
    """The keys that were given, with their sections."""
    given = settings.model_dump(exclude_unset=True)
    single = {key for key in given if key not in SECTIONS}
    return single | {f"{section}.{key}" for section in given.keys() & SECTIONS.keys() for key in given[section]}


@pytest.mark.parametrize(("settings", "text"), CHANGES, ids=[text for _, text in CHANGES])
def test_a_key_shows_in_the_manifests(settings: KubernetesSettings, text: str) -> None:
    assert text not in PLAIN
    assert text in rendered(settings)


def test_every_key_is_among_those_that_show() -> None:
    every = {name for name in KubernetesSettings.model_fields if name not in SECTIONS}
    every |= {f"{section}.{key}" for section, model in SECTIONS.items() for key in model.model_fields}
    shown = {leaf for settings, _ in CHANGES for leaf in leaves(settings)}
    assert every - shown == {"ingest.mask_secret"}  # below


def test_masking_takes_its_secret_along() -> None:
    settings = KubernetesSettings(ingest=IngestJobSettings(mask_secret="privacy"))
    masked = IngestSettings(mask=MaskSettings(default="token", key_env="MY_MASK"))
    assert "privacy" not in rendered(settings)
    text = rendered(settings, ingest=masked)
    assert "name: privacy" in text
    assert "name: MY_MASK" in text


def test_a_ledger_elsewhere_needs_no_volume() -> None:
    elsewhere = rendered(KubernetesSettings(), ingest=IngestSettings(ledger="postgresql://db/x"))
    assert "embed-ledger" in PLAIN
    assert "embed-ledger" not in elsewhere
    assert "embed-dead-letters-" in PLAIN
    assert "embed-dead-letters-" not in elsewhere  # it can be read from anywhere


def test_traces_may_leave_to_their_collector() -> None:
    watched = ObservabilitySettings(otlp_endpoint="http://collector:4318")
    assert "port: 4318" not in PLAIN
    assert "port: 4318" in rendered(KubernetesSettings(), observability=watched)


def test_no_key_is_sent_where_none_is_asked() -> None:
    assert "EMBED_API_KEY" in PLAIN
    assert "EMBED_API_KEY" not in rendered(KubernetesSettings(keys_secret=None))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": "registry.example/embed:latest"}, "latest"),
        ({"image": "registry.example/embed"}, "tag"),
        ({"kubectl_image": "kubectl"}, "tag"),
        ({"name": "Embed"}, "lower-case"),
        ({"name": "e" * 31}, "30"),
        ({"namespace": "-x"}, "lower-case"),
        ({"termination_grace_s": 10}, "30"),
        ({"weights": {"revisions": {"org/model": "main"}}}, "40 hexadecimal digits"),
        ({"redis": {"address": "redis"}}, "pattern"),
        ({"upgrade": {"step_percent": 50, "max_surge_percent": 20}}, "step_percent"),
        ({"ingest": {"schedule": "nightly"}}, "pattern"),
        ({"exposure": {"hosts": "x"}}, "hosts"),
    ],
)
def test_a_wrong_value_is_refused_in_words(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KubernetesSettings.model_validate(values)


@pytest.mark.parametrize(
    "image", ["embed:1", "registry.example:5000/team/embed:0.1.0-gpu", "registry.example/embed@sha256:" + "0" * 64]
)
def test_a_pinned_image_is_taken(image: str) -> None:
    assert KubernetesSettings(image=image).image == image
