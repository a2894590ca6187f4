"""Which settings need new replicas: a version that changes too easily makes every GPU load its model again."""

from __future__ import annotations

import pytest

from serve_app.app import _what_a_replica_uses
from serve_app.settings import EngineSettings, LimitSettings, ModelSettings

GPU = ModelSettings(path="/models/qwen3", gpus_per_replica=1)
CPU = ModelSettings(path="/models/qwen3")
LIMITS = LimitSettings()


@pytest.mark.parametrize(
    ("model", "limits"),
    [
        (GPU.model_copy(update={"replicas": 4}), LIMITS),
        (GPU.model_copy(update={"aliases": ("other",)}), LIMITS),
        (GPU, LIMITS.model_copy(update={"max_body_mib": 4, "max_wait_s": 1.0})),
    ],
)
def test_what_only_routers_use_replaces_no_replica(model: ModelSettings, limits: LimitSettings) -> None:
    assert _what_a_replica_uses(model, limits) == _what_a_replica_uses(GPU, LIMITS)


@pytest.mark.parametrize(
    ("model", "limits"),
    [
        (GPU.model_copy(update={"engine": EngineSettings(quantization="fp8")}), LIMITS),
        (GPU.model_copy(update={"golden": "golden.json"}), LIMITS),
        (GPU, LIMITS.model_copy(update={"max_queued_tokens": 2048})),
    ],
)
def test_what_a_replica_reads_replaces_it(model: ModelSettings, limits: LimitSettings) -> None:
    assert _what_a_replica_uses(model, limits) != _what_a_replica_uses(GPU, LIMITS)


def test_replicas_that_share_the_cores_of_a_machine_are_replaced_when_their_number_changes() -> None:
    pair = CPU.model_copy(update={"replicas": 2})
    assert _what_a_replica_uses(pair, LIMITS) != _what_a_replica_uses(CPU, LIMITS)
