"""How many replicas of every model there are: given by the configuration, or what finds a place on the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.hardware import HardwareSettings
from cluster.plan.cpu_sizing import replicas_per_node
from cluster.plan.gpu_sizing import Placed, place_on_gpu
from cluster.plan.layout import Nodes, fill
from cluster.plan.model_sizes import ModelSize
from serve_app.core.errors import SetupError
from serve_app.settings import ModelSettings

SHARING = (2, 4, 8)  # replicas of several models on one GPU
Sizes = Mapping[str, ModelSize | None]


@dataclass(frozen=True, slots=True)
class Part:
    """One model on its way to a plan; `placed` None: it runs on CPUs. `key` is its place, as in `models.0`."""

    key: str
    model: ModelSettings
    size: ModelSize | None
    placed: Placed | None

    @property
    def is_open(self) -> bool:
        """Whether the number of replicas is for the plan to decide."""
        return self.model.autoscaling is None and "replicas" not in self.model.model_fields_set

    @property
    def least(self) -> int:
        """Replicas there must be room for on the nodes that are always there: the fewest, or those it starts with."""
        bounds = self.model.autoscaling
        if bounds is None or "replicas" in self.model.model_fields_set:
            return self.model.replicas
        return bounds.min_replicas


@dataclass(frozen=True, slots=True)
class Count:
    """Replicas of one model on the nodes that are always there, and on the most nodes."""

    least: int
    most: int


def parts_of(models: Sequence[ModelSettings], sizes: Sizes, hardware: HardwareSettings) -> list[Part]:
    """Every model with the GPUs of a replica; where not all models find a place, several of them share a GPU.

    Raises SetupError if they do not even then, or if one of them does not fit into its GPUs.
    """

    def placed(sharing: int) -> list[Part]:
        return [_part(f"models.{i}", model, sizes.get(model.path), hardware, sharing) for i, model in enumerate(models)]

    def find_places(parts: Sequence[Part]) -> bool:
        return _filled(parts, hardware.nodes, hardware, most=False) is not None

    alone = placed(1)
    if find_places(alone):
        return alone
    for sharing in SHARING:
        try:
            parts = placed(sharing)
        except SetupError:  # one of them needs more than its part of a GPU
            break
        if find_places(parts):
            return parts
    raise SetupError(_no_place(alone, hardware.nodes, hardware, most=False))


def counts_of(parts: Sequence[Part], hardware: HardwareSettings) -> list[Count]:
    """In the order of `parts`. Raises SetupError if the most replicas do not find a place on the most nodes."""
    least = _filled(parts, hardware.nodes, hardware, most=False)
    most = _filled(parts, hardware.most_nodes, hardware, most=True)
    if least is None or most is None:
        raise SetupError(_no_place(parts, hardware.most_nodes, hardware, most=True))
    each = replicas_per_node(hardware, sum(part.is_open and part.placed is None for part in parts) or 1)
    counts = []
    for index, part in enumerate(parts):
        if not part.is_open:
            counts.append(Count(part.least, part.model.most_replicas))
        elif part.placed is None:
            counts.append(Count(each * hardware.nodes, each * hardware.most_nodes))
        else:
            counts.append(Count(min(least[index], most[index]), most[index]))
    return counts


def _filled(parts: Sequence[Part], nodes: int, hardware: HardwareSettings, most: bool) -> dict[int, int] | None:
    """Replicas of the open models on GPUs, by their index; None if not all find a place."""
    fixed = [
        (part.placed.unit, part.model.most_replicas if most else part.least)
        for part in parts
        if part.placed is not None and not part.is_open
    ]
    growing = {i: part.placed.unit for i, part in enumerate(parts) if part.placed is not None and part.is_open}
    return fill(Nodes(nodes, hardware.gpus_per_node), fixed, growing)


def _no_place(parts: Sequence[Part], nodes: int, hardware: HardwareSettings, most: bool) -> str:
    wanted = [
        (part, 1 if part.is_open else part.model.most_replicas if most else part.least)
        for part in parts
        if part.placed is not None
    ]
    gpus = sum(part.placed.unit.gpus * count for part, count in wanted if part.placed is not None)
    rows = [
        f"{count} × {part.placed.unit.gpus:g} for {part.model.served_name}" for part, count in wanted if part.placed
    ]
    key = "max_nodes" if most and hardware.max_nodes is not None else "nodes"
    return (
        f"`hardware.{key}`: the models ask for {gpus:g} GPUs ({', '.join(rows)}) and there are "
        f"{nodes} × {hardware.gpus_per_node}, too small to share; lower `replicas`, `autoscaling.max_replicas` or "
        "`gpus_per_replica`, or add nodes"
    )


def _part(key: str, model: ModelSettings, size: ModelSize | None, hardware: HardwareSettings, sharing: int) -> Part:
    given = "gpus_per_replica" in model.model_fields_set
    if hardware.gpu == "none" and model.gpus_per_replica:
        raise SetupError(
            f"`{key}.gpus_per_replica`: it is {model.gpus_per_replica:g} and `hardware.gpu` is none; name the GPU "
            "of the nodes, or leave the key out"
        )
    if hardware.gpu == "none" or (given and model.gpus_per_replica == 0):
        return Part(key, model, size, None)
    placed = place_on_gpu(key, model, size, hardware, sharing)
    return Part(key, placed.model, size, placed)
