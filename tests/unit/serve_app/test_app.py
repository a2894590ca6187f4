"""Which settings need new replicas: a version that changes too easily makes every GPU load its model again."""

from __future__ import annotations

from typing import Any, cast

import pytest
from ray.serve import Deployment

from serve_app.app import SCALING_POLICY, _autoscaling_config, _embedder, _what_a_replica_uses, build
from serve_app.autoscaling import TokenBacklogPolicy
from serve_app.settings import (
    AppSettings,
    AutoscalingSettings,
    EngineSettings,
    LimitSettings,
    LiveSettings,
    ModelSettings,
)

GPU = ModelSettings(path="/models/qwen3", gpus_per_replica=1)
CPU = ModelSettings(path="/models/qwen3")
SCALED = AutoscalingSettings(min_replicas=2, max_replicas=6, target_wait_s=1.5, cold_start_s=40, downscale_after_s=90)


@pytest.mark.parametrize(
    "model",
    [
        GPU.model_copy(update={"replicas": 4}),
        GPU.model_copy(update={"aliases": ("other",)}),
        GPU.model_copy(update={"autoscaling": SCALED}),
    ],
)
def test_what_only_routers_use_replaces_no_replica(model: ModelSettings) -> None:
    assert _what_a_replica_uses(model) == _what_a_replica_uses(GPU)


@pytest.mark.parametrize(
    "model",
    [
        GPU.model_copy(update={"engine": EngineSettings(quantization="fp8")}),
        GPU.model_copy(update={"golden": "golden.json"}),
    ],
)
def test_what_a_replica_reads_replaces_it(model: ModelSettings) -> None:
    assert _what_a_replica_uses(model) != _what_a_replica_uses(GPU)


def test_a_model_may_begin_asleep_and_then_nothing_waits_for_a_replica() -> None:
    bounds = AutoscalingSettings(min_replicas=0, max_replicas=2)
    asleep = ModelSettings(path="/models/qwen3", replicas=0, autoscaling=bounds)
    config = _embedder(asleep, AppSettings(models=(asleep,)))._bound_deployment._deployment_config.autoscaling_config
    assert config is not None
    assert config.initial_replicas == 0


def test_replicas_that_share_the_cores_of_a_machine_are_replaced_when_their_number_changes() -> None:
    pair = CPU.model_copy(update={"replicas": 2})
    assert _what_a_replica_uses(pair) != _what_a_replica_uses(CPU)


def test_replicas_that_share_cores_stay_when_bounds_change_but_not_how_many_there_can_be() -> None:
    two = CPU.model_copy(update={"replicas": 2})
    scaled = CPU.model_copy(update={"autoscaling": AutoscalingSettings(max_replicas=2)})
    other = CPU.model_copy(update={"autoscaling": AutoscalingSettings(max_replicas=2, min_replicas=0, cold_start_s=9)})
    assert _what_a_replica_uses(scaled) == _what_a_replica_uses(other)
    assert _what_a_replica_uses(scaled) == _what_a_replica_uses(two)  # each gets half of the cores


@pytest.mark.parametrize(("begin_with", "initial"), [(1, 2), (4, 4), (9, 6), (None, None)])
def test_serve_is_told_the_bounds_and_leaves_the_rest_to_the_policy(
    begin_with: int | None, initial: int | None
) -> None:
    config = _autoscaling_config(SCALED, begin_with)
    assert (config.min_replicas, config.initial_replicas, config.max_replicas) == (2, initial, 6)
    assert (config.upscale_delay_s, config.downscale_delay_s) == (0, 0)
    assert (config.get_upscaling_factor(), config.get_downscaling_factor()) == (1, 1)
    assert config.policy.policy_function == SCALING_POLICY
    assert callable(TokenBacklogPolicy(**config.policy.policy_kwargs))
    assert config.policy.policy_kwargs == {
        "target_wait_s": 1.5,
        "cold_start_s": 40,
        "downscale_after_s": 90,
        "target_utilisation": 0.75,
    }


@pytest.mark.parametrize(
    ("model", "is_scaled"),
    [(GPU.model_copy(update={"replicas": 3}), False), (GPU.model_copy(update={"autoscaling": SCALED}), True)],
)
def test_a_replica_that_leaves_may_finish_the_longest_request_and_a_new_one_comes_first(
    model: ModelSettings, is_scaled: bool
) -> None:
    limits = LimitSettings(request_timeout_s=50)
    config = _embedder(
        model, AppSettings(models=(model,), live=LiveSettings(limits=limits))
    )._bound_deployment._deployment_config
    assert config.graceful_shutdown_timeout_s >= 50
    assert config.max_surge_percent == 100
    assert (config.autoscaling_config is not None) is is_scaled


def test_new_limits_reach_routers_and_replicas_without_replacing_them() -> None:
    def deployments(**limits: object) -> list[Deployment]:
        live = LiveSettings(limits=LimitSettings.model_validate(limits))
        router = build(AppSettings(models=(GPU,), live=live))._bound_deployment
        _, handles = cast(tuple[Any, dict[str, Any]], router.init_args)
        return [router, *(handle._bound_deployment for handle in handles.values())]

    for old, new in zip(deployments(), deployments(max_queued_tokens=9000, max_wait_s=1.0), strict=True):
        assert old.version == new.version
        assert old.user_config != new.user_config
