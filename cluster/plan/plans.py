"""What a plan says: decisions by key, and for every model what a replica needs and does."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.hardware import HardwareSettings
from cluster.plan.estimates import ReplicaMemory
from cluster.plan.gpus import GPUS

DOCUMENT_TOKENS = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """One key of the configuration, dotted as in `models.0.replicas`. `given`: the configuration itself says so."""

    key: str
    value: int | float | str
    why: str
    given: bool = False


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model on the hardware. None: the model's size is not known. `gpus` are those of one replica."""

    name: str
    gpus: float
    replicas: int  # on the nodes that are always there
    most_replicas: int
    memory: ReplicaMemory | None
    tokens_per_s: float | None  # of one replica, estimated


@dataclass(frozen=True, slots=True)
class Plan:
    """`hardware` None: nothing was decided from it."""

    decisions: tuple[Decision, ...]
    models: tuple[ModelPlan, ...] = ()
    hardware: HardwareSettings | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all models together on so many nodes. None: not known. `currency` is empty where the configuration gives the
    price.
    """

    nodes: int
    gpus: int
    tokens_per_s: float | None
    cost_per_hour: float | None
    currency: str

    @property
    def documents_per_hour(self) -> float | None:
        return None if self.tokens_per_s is None else self.tokens_per_s * 3600 / DOCUMENT_TOKENS

    @property
    def cost_per_million_tokens(self) -> float | None:
        if self.cost_per_hour is None or not self.tokens_per_s:
            return None
        return self.cost_per_hour / (self.tokens_per_s * 3600) * 1e6


def totals(plan: Plan, most: bool) -> Totals | None:
    """On the nodes that are always there, or with `most` on the most there can be; None without hardware."""
    hardware = plan.hardware
    if hardware is None:
        return None
    nodes = hardware.most_nodes if most else hardware.nodes
    speeds = [
        None if model.tokens_per_s is None else model.tokens_per_s * (model.most_replicas if most else model.replicas)
        for model in plan.models
    ]
    known = [speed for speed in speeds if speed is not None]
    price = node_price(hardware)
    return Totals(
        nodes=nodes,
        gpus=nodes * hardware.gpus_per_node,
        tokens_per_s=sum(known) if len(known) == len(speeds) else None,
        cost_per_hour=None if price is None else nodes * price,
        currency="$" if hardware.price_per_node_hour is None else "",
    )


def node_price(hardware: HardwareSettings) -> float | None:
    """Of a node for an hour: its own price, else the list price of its GPUs; None where neither is known."""
    if hardware.price_per_node_hour is not None:
        return hardware.price_per_node_hour
    return None if hardware.gpu == "none" else GPUS[hardware.gpu].price_per_hour * hardware.gpus_per_node
