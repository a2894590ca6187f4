"""Models on CPUs, and what everything on a node needs of its cores and main memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from cluster.hardware import HardwareSettings
from cluster.plan.estimates import (
    CPU_STEP_TOKENS,
    HOST_GIB,
    NODE_GIB,
    ROUTER_GIB,
    ReplicaMemory,
    cpu_tokens_per_s,
    memory_of,
)
from cluster.plan.model_sizes import ModelSize
from cluster.plan.plans import Decision
from serve_app.core.errors import SetupError
from serve_app.settings import EMBEDDER_CPUS, ROUTER_CPUS, ModelSettings, RouterSettings

CORES_PER_REPLICA = 16  # beyond, a second engine gains more than further threads


@dataclass(frozen=True, slots=True)
class OnNodes:
    """Replicas of one model, spread over the nodes; `gpus` of a replica, 0 on CPUs."""

    name: str
    replicas: int
    gpus: float
    memory: ReplicaMemory | None

    @property
    def host_gib(self) -> float:
        """Main memory of one replica; what is not known counts nothing."""
        if self.gpus:
            return HOST_GIB * max(1.0, self.gpus)
        return self.memory.total if self.memory is not None else 0.0


def replicas_per_node(hardware: HardwareSettings, models: int) -> int:
    """Of each of the models that leave it open."""
    return max(1, hardware.cpus_per_node // CORES_PER_REPLICA // models)


def size_on_cpu(
    key: str, model: ModelSettings, size: ModelSize | None, cores: int
) -> tuple[tuple[Decision, ...], ReplicaMemory | None, float | None]:
    """(decisions, memory, estimated tokens/s) of a replica that has so many cores to itself."""
    fields = model.engine.model_fields_set
    step_tokens, threads = model.engine.step_tokens or CPU_STEP_TOKENS, model.engine.threads or cores
    decisions = (
        _engine(key, "threads", threads, "the cores of a node, divided among its replicas", fields),
        _engine(key, "step_tokens", step_tokens, "what a step computes still fits the processor's caches", fields),
    )
    if size is None:
        return decisions, None, None
    return decisions, memory_of(model, size, step_tokens, False), cpu_tokens_per_s(size, threads)


def check_nodes(hardware: HardwareSettings, nodes: int, models: Sequence[OnNodes], router: RouterSettings) -> None:
    """Cores and main memory of a node, with everything spread evenly. Raises SetupError that names both numbers."""
    routers = ceil(router.replicas / nodes)
    placed = [(model, ceil(model.replicas / nodes)) for model in models if model.replicas]
    cpus = routers * ROUTER_CPUS + sum(count for _, count in placed) * EMBEDDER_CPUS
    if cpus > hardware.cpus_per_node:
        raise SetupError(
            f"`hardware.cpus_per_node`: the processes of a node ask for {cpus:g} cores and it has "
            f"{hardware.cpus_per_node}; lower `replicas` or say what a node really has"
        )
    memory = NODE_GIB + routers * (ROUTER_GIB + router.cache_mib / 1024)
    memory += sum(count * model.host_gib for model, count in placed)
    if memory > hardware.memory_gib_per_node:
        raise SetupError(
            f"`hardware.memory_gib_per_node`: the processes of a node need {memory:.1f} GiB of main memory "
            f"({', '.join(_spoken(placed, routers))}) and it has {hardware.memory_gib_per_node:g}; lower `replicas` or "
            "`engine.max_tokens`, or say what a node really has"
        )


def _spoken(placed: Sequence[tuple[OnNodes, int]], routers: int) -> Iterator[str]:
    yield from (f"{count} × {model.host_gib:.1f} for {model.name}" for model, count in placed)
    yield f"the rest for Ray and {routers} Router{'s' if routers > 1 else ''}"


def _engine(key: str, name: str, value: int, why: str, fields: set[str]) -> Decision:
    given = name in fields
    return Decision(f"{key}.engine.{name}", value, "as configured" if given else why, given)
