"""Configurations that come with the product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster import presets, rules, rules_capacity
from cluster.config import ConfigError, load_config, planned
from cluster.plan.plans import totals
from serve_app.core.errors import SetupError


def test_there_is_one_for_every_common_size() -> None:
    assert presets.names() == ["fleet", "laptop-cpu", "node-8-gpu", "one-gpu"]


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_loads_is_planned_and_keeps_the_rules(name: str) -> None:
    config, plan = planned(Path(f"preset:{name}"))
    assert list(rules.problems(config)) == []
    assert list(rules_capacity.drain(config.limits, config.kubernetes)) == []
    assert plan.hardware is not None
    total = totals(plan, most=True)
    assert total is not None
    assert total.tokens_per_s
    assert all(decision.why for decision in plan.decisions)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_what_it_is_for(name: str) -> None:
    assert re.fullmatch(r"[A-Z].{20,110}\.", presets.summary(name))


def test_on_a_gpu_the_default_is_the_model_of_four_billion_parameters() -> None:
    with_gpus = [load_config(Path(f"preset:{name}")) for name in ("one-gpu", "node-8-gpu", "fleet")]
    assert {config.models[0].path for config in with_gpus} == {"Qwen/Qwen3-Embedding-4B"}


def test_the_fleet_grows_and_the_laptop_does_not() -> None:
    fleet, laptop = (load_config(Path(f"preset:{name}")).models[0] for name in ("fleet", "laptop-cpu"))
    assert fleet.autoscaling is not None
    assert fleet.autoscaling.max_replicas > fleet.replicas
    assert (laptop.autoscaling, laptop.replicas, laptop.engine.threads) == (None, 1, 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("fleat", "did you mean `fleet`?"), ("zzz", "there are fleet, laptop-cpu, node-8-gpu, one-gpu.")],
)
def test_an_unknown_preset_is_named_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SetupError, match=re.escape(f"There is no preset `{name}`; {hint}")):
        presets.read(name)
    with pytest.raises(ConfigError, match=re.escape(hint)):
        load_config(Path(f"preset:{name}"))
