"""What the machines are like: described once, it decides how models are laid out on them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from serve_app.settings import Settings

Gpu = Literal["none", "t4", "l4", "a10", "l40s", "a100-40", "a100-80", "h100", "h200", "b200"]


class HardwareSettings(Settings):
    """Nodes that embed. All are alike; a fleet grows and shrinks between `nodes` and `max_nodes`."""

    gpu: Gpu = Field("none", description="Kind of GPU.")
    gpus_per_node: int = Field(0, ge=0, le=16, description="GPUs of one node.")
    cpus_per_node: int = Field(2, ge=1, description="CPU cores of one node.")
    memory_gib_per_node: float = Field(8, gt=0, description="Main memory of one node.")
    nodes: int = Field(1, ge=1, le=10_000, description="Nodes that are always there.")
    max_nodes: int | None = Field(None, ge=1, le=10_000, description="Most nodes; default: `nodes`.")
    price_per_node_hour: float | None = Field(
        None, gt=0, description="What a node costs, in any currency; default: the list price of its GPUs in US dollars."
    )

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.gpu == "none" and self.gpus_per_node:
            raise ValueError(f"`gpus_per_node` is {self.gpus_per_node} and `gpu` is none: say which kind they are")
        if self.gpu != "none" and not self.gpus_per_node:
            raise ValueError(f"`gpu` is {self.gpu} and `gpus_per_node` is 0: say how many a node has")
        if self.max_nodes is not None and self.max_nodes < self.nodes:
            raise ValueError(
                f"`max_nodes` ({self.max_nodes}) is below `nodes` ({self.nodes}): raise it or leave it out"
            )
        return self

    @property
    def most_nodes(self) -> int:
        return self.nodes if self.max_nodes is None else self.max_nodes
