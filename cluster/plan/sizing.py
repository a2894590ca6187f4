"""From hardware to numbers: what the configuration leaves open is decided here, and every decision says why.

Pure: no file is read, no machine is asked. What the configuration sets itself is never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from cluster.hardware import HardwareSettings
from cluster.plan.cpu_sizing import OnNodes, check_nodes, size_on_cpu
from cluster.plan.plans import Decision, ModelPlan, Plan
from cluster.plan.replica_counts import Count, Part, Sizes, counts_of, parts_of
from serve_app.settings import AutoscalingSettings, ModelSettings

if TYPE_CHECKING:
    from cluster.config import ClusterConfig

NODE_START_S = 180.0  # assumed, beside the start of a replica, where a node has to come up first
ROUTER_TOKENS_PER_S = 200_000.0  # assumed of one Router process, which tokenises and encodes


def plan(config: ClusterConfig, sizes: Sizes) -> Plan:
    """What the hardware implies. `sizes` has every model's size by its path, None where it is not known.

    Raises SetupError if the models do not fit, naming the key, what is needed, what is there and what to change.
    """
    hardware = config.hardware
    if hardware is None:
        return Plan(tuple(d for i, model in enumerate(config.models) for d in _bounded(f"models.{i}", model, config)))
    parts = parts_of(config.models, sizes, hardware)
    counts = counts_of(parts, hardware)
    cores = _cores_per_replica(parts, counts, hardware)
    decisions = [] if "models" in config.model_fields_set else [_default_model(config, hardware)]
    models = []
    for part, count in zip(parts, counts, strict=True):
        own, model = _sized(part, count, cores)
        decisions += [*own, *_replicas(part, count, config, hardware)]
        models.append(model)
    routers = _routers(config, models, hardware)
    _check(config, models, int(routers.value), hardware)
    return Plan((*decisions, routers), tuple(models), hardware)


def apply(config: ClusterConfig, made: Plan) -> ClusterConfig:
    """The configuration with the plan's decisions. Raises pydantic's ValidationError if they break a rule together."""
    if all(decision.given for decision in made.decisions):
        return config
    document: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    for decision in made.decisions:
        if not decision.given:
            _put(document, decision.key, decision.value)
    return type(config).model_validate(document)


def _put(document: dict[str, Any], key: str, value: object) -> None:
    if key == "models":
        document[key] = [{"path": value}]
        return
    *parents, last = key.split(".")
    place: Any = document
    for parent in parents:
        if isinstance(place, list):
            place = place[int(parent)]
        else:
            place[parent] = place = place.get(parent) or {}
    place[last] = value


def _default_model(config: ClusterConfig, hardware: HardwareSettings) -> Decision:
    why = "the small English model that needs no download" if hardware.gpu == "none" else "the default on a GPU"
    return Decision("models", config.models[0].path, why)


def _sized(part: Part, count: Count, cores: int) -> tuple[tuple[Decision, ...], ModelPlan]:
    name = part.model.served_name
    if part.placed is not None:
        placed = part.placed
        model = ModelPlan(name, placed.unit.gpus, count.least, count.most, placed.memory, placed.tokens_per_s)
        return placed.decisions, model
    decisions, memory, tokens_per_s = size_on_cpu(part.key, part.model, part.size, cores)
    return decisions, ModelPlan(name, 0, count.least, count.most, memory, tokens_per_s)


def _cores_per_replica(parts: Sequence[Part], counts: Sequence[Count], hardware: HardwareSettings) -> int:
    """Of the replicas on CPUs, where a node holds the most of them."""
    on_cpu = [count for part, count in zip(parts, counts, strict=True) if part.placed is None]
    on_a_node = max(
        sum(ceil(count.least / hardware.nodes) for count in on_cpu),
        sum(ceil(count.most / hardware.most_nodes) for count in on_cpu),
    )
    return max(1, hardware.cpus_per_node // max(1, on_a_node))


def _replicas(part: Part, count: Count, config: ClusterConfig, hardware: HardwareSettings) -> Iterator[Decision]:
    key, grows = part.key, hardware.most_nodes > hardware.nodes
    start = AutoscalingSettings(max_replicas=1).cold_start_s + NODE_START_S
    start_why = "a replica may have to wait for a new node"
    bounds = part.model.autoscaling
    if bounds is not None:
        if grows and "cold_start_s" not in bounds.model_fields_set:
            yield Decision(f"{key}.autoscaling.cold_start_s", start, start_why)
            bounds = bounds.model_copy(update={"cold_start_s": start})
        yield from _bounded(key, part.model.model_copy(update={"autoscaling": bounds}), config)
    elif not part.is_open:
        yield Decision(f"{key}.replicas", part.model.replicas, "as configured", given=True)
    elif count.least == count.most:
        yield Decision(f"{key}.replicas", count.most, _room(part, hardware.nodes))
    else:
        fewest = f"{_room(part, hardware.nodes)}, which are always there"
        yield Decision(f"{key}.replicas", count.least, "it starts with the fewest")
        yield Decision(f"{key}.autoscaling.min_replicas", count.least, fewest)
        yield Decision(f"{key}.autoscaling.max_replicas", count.most, _room(part, hardware.most_nodes))
        yield Decision(f"{key}.autoscaling.cold_start_s", start, start_why)


def _bounded(key: str, model: ModelSettings, config: ClusterConfig) -> Iterator[Decision]:
    """What an explicit `autoscaling` says of itself, and with how many replicas it starts."""
    bounds = model.autoscaling
    if bounds is None:
        return
    if bounds.min_replicas == 0:
        yield Decision(
            f"{key}.autoscaling.min_replicas",
            0,
            f"as configured; while there is none, the first request starts one, in about {bounds.cold_start_s:g} s: "
            f"for bulk work, since an interactive request waits at most {config.limits.request_timeout_s:g} s",
            given=True,
        )
    else:
        yield Decision(f"{key}.autoscaling.min_replicas", bounds.min_replicas, "as configured", given=True)
    yield Decision(f"{key}.autoscaling.max_replicas", bounds.max_replicas, "as configured", given=True)
    if "replicas" in model.model_fields_set:
        yield Decision(f"{key}.replicas", model.replicas, "as configured", given=True)
    else:
        yield Decision(f"{key}.replicas", bounds.min_replicas, "it starts with the fewest")


def _routers(config: ClusterConfig, models: Sequence[ModelPlan], hardware: HardwareSettings) -> Decision:
    """Their number is fixed: enough for the most replicas, but no more than half of the cores that are always there."""
    key = "router.replicas"
    if "replicas" in config.router.model_fields_set:
        return Decision(key, config.router.replicas, "as configured", given=True)
    tokens_per_s = sum((model.tokens_per_s or 0.0) * model.most_replicas for model in models)
    least = 1 if sum(model.most_replicas for model in models) == 1 else 2
    wanted = max(least, ceil(tokens_per_s / ROUTER_TOKENS_PER_S))
    most = max(1, hardware.cpus_per_node * hardware.nodes // 2)
    if wanted > most:
        return Decision(key, most, f"half of the cores; {wanted} would keep up with {tokens_per_s:,.0f} tokens/s")
    if wanted == least:
        why = "one replica does not need two" if least == 1 else "two, so that one can fail"
        return Decision(key, wanted, why)
    return Decision(key, wanted, f"one for {ROUTER_TOKENS_PER_S:,.0f} of {tokens_per_s:,.0f} tokens/s")


def _check(config: ClusterConfig, models: Sequence[ModelPlan], routers: int, hardware: HardwareSettings) -> None:
    router = config.router.model_copy(update={"replicas": routers})
    least = [OnNodes(model.name, model.replicas, model.gpus, model.memory) for model in models]
    most = [OnNodes(model.name, model.most_replicas, model.gpus, model.memory) for model in models]
    check_nodes(hardware, hardware.nodes, least, router)
    check_nodes(hardware, hardware.most_nodes, most, router)


def _room(part: Part, nodes: int) -> str:
    where = f"{nodes} nodes" if nodes > 1 else "one node"
    return f"as many as fit on {where}" if part.placed is not None else f"spread over {where}, by their cores"
