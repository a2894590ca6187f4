"""Pods with GPUs: a group for each model, as small as its replicas allow.

A smaller pod finds a place sooner, and takes less with it when it goes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.plan.layout import Nodes, Unit, fits
from cluster.render.places import group_names, place
from cluster.render.worker_group import NODE_SHARE, WorkerGroup, hardware_of
from serve_app.core.errors import SetupError
from serve_app.settings import EMBEDDER_CPUS, ModelSettings


@dataclass(frozen=True, slots=True)
class _Shape:
    """Pods of one model: `gpus` of each, and how many replicas it takes."""

    model: ModelSettings
    gpus: int
    per_pod: int

    def holding(self, replicas: int) -> int:
        """Pods for so many replicas."""
        return ceil(replicas / self.per_pod)

    @property
    def start(self) -> int:
        """Replicas that Serve begins with, and the fewest there are."""
        return self.model.replicas if self.model.autoscaling is None else self.model.autoscaling.min_replicas


def gpu_groups(config: ClusterConfig) -> list[WorkerGroup]:
    """Raises SetupError if nodes are too few or too small."""
    hardware, shapes = hardware_of(config), _shapes(config)
    _check(hardware, shapes)
    names = group_names(config.models)
    return [_group(hardware, shapes, index, names[shape.model.deployment]) for index, shape in enumerate(shapes)]


def surge_percent(config: ClusterConfig) -> int:
    """So many of all models' replicas find room at once beside those that the cluster starts with."""
    if config.kubernetes.upgrade.strategy == "none":
        return 0
    nodes, shapes = _nodes(hardware_of(config)), _shapes(config)

    def has_room(percent: int) -> bool:
        replicas = ((shape, max(1, shape.start)) for shape in shapes)
        wanted = (shape.holding(count + ceil(percent * count / 100)) for shape, count in replicas)
        return _fit(nodes, shapes, wanted)

    return max((percent for percent in range(1, 101) if has_room(percent)), default=0)


def _shapes(config: ClusterConfig) -> list[_Shape]:
    return [_Shape(model, model.tensor_parallel, _per_pod(model)) for model in config.models]


def _per_pod(model: ModelSettings) -> int:
    """Replicas that share the GPU of a pod; a fraction never spans two."""
    if not model.gpus_per_replica:
        raise SetupError(
            f"`models.gpus_per_replica` is 0 for {model.served_name}, and other models have GPUs: pods for both are "
            "not made. Give it a part of a GPU, or a cluster of its own."
        )
    return floor(1 / model.gpus_per_replica + 1e-6)


def _nodes(hardware: HardwareSettings) -> Nodes:
    return Nodes(hardware.most_nodes, hardware.gpus_per_node)


def _fit(nodes: Nodes, shapes: Sequence[_Shape], pods: Iterable[int]) -> bool:
    return fits(nodes, [(Unit(1.0, shape.gpus), count) for shape, count in zip(shapes, pods, strict=True)])


def _check(hardware: HardwareSettings, shapes: Sequence[_Shape]) -> None:
    largest = max(shape.gpus for shape in shapes)
    if largest > hardware.gpus_per_node:
        raise SetupError(
            f"`models.tensor_parallel` is {largest} and a node has `hardware.gpus_per_node` {hardware.gpus_per_node}: "
            "a replica stays within one node, so lower the first or take larger nodes."
        )
    for replicas in ([shape.start for shape in shapes], [shape.model.most_replicas for shape in shapes]):
        pods = [shape.holding(count) for shape, count in zip(shapes, replicas, strict=True)]
        if not _fit(_nodes(hardware), shapes, pods):
            rows = (f"{n} × {one.gpus} for {one.model.served_name}" for one, n in zip(shapes, pods, strict=True))
            raise SetupError(
                f"`models.replicas` needs pods with GPUs ({', '.join(rows)}), and there are {hardware.most_nodes} × "
                f"{hardware.gpus_per_node}; pods of two models share none. Lower `replicas` or "
                "`autoscaling.max_replicas`, or raise `hardware.max_nodes`."
            )


def _group(hardware: HardwareSettings, shapes: Sequence[_Shape], index: int, name: str) -> WorkerGroup:
    shape = shapes[index]
    per_node = hardware.gpus_per_node // shape.gpus
    return WorkerGroup(
        name=name,
        component="embedder",
        cpus=max(1, floor(hardware.cpus_per_node * NODE_SHARE / per_node)),
        memory_gib=max(1, floor(hardware.memory_gib_per_node * NODE_SHARE / per_node)),
        gpus=shape.gpus,
        ray_cpus=ceil(EMBEDDER_CPUS * shape.per_pod),
        pods=shape.holding(shape.start),
        min_pods=shape.holding(shape.start),
        max_pods=_most(_nodes(hardware), shapes, index),
        places={place(name): shape.per_pod},
    )


def _most(nodes: Nodes, shapes: Sequence[_Shape], index: int) -> int:
    """Pods of one model that the nodes hold beside those that the others start with: room to surge and to move."""
    beside = [shape.holding(shape.start) for shape in shapes]

    def is_too_many(pods: int) -> bool:
        return not _fit(nodes, shapes, [*beside[:index], pods, *beside[index + 1 :]])

    return bisect_left(range(nodes.all_gpus + 2), True, key=is_too_many) - 1
