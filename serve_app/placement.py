"""Where a replica runs: what it asks Ray for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from serve_app.settings import EMBEDDER_CPUS, ModelSettings


@dataclass(frozen=True, slots=True)
class Placement:
    """Resources of one replica, in the terms of a Serve deployment."""

    ray_actor_options: dict[str, Any]
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: str | None = None

    def deployment_options(self) -> dict[str, Any]:
        """As arguments of `serve.deployment`, which takes no None."""
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in options.items() if value is not None}


def placement_of(model: ModelSettings) -> Placement:
    """One actor, or for a model split over GPUs a group of bundles on one node, one GPU in each.

    The replica itself then sits in the first bundle and takes no GPU: vLLM starts a process for each GPU of the group.
    """
    if model.tensor_parallel == 1:
        # Serve compares these as JSON, in which the integer of a default is not the number a configuration gives.
        return Placement({"num_cpus": EMBEDDER_CPUS, "num_gpus": float(model.gpus_per_replica)})
    first, others = {"CPU": EMBEDDER_CPUS, "GPU": 1.0}, model.tensor_parallel - 1
    return Placement(
        {"num_cpus": EMBEDDER_CPUS, "num_gpus": 0},
        [first, *({"GPU": 1.0} for _ in range(others))],
        "STRICT_PACK",  # every layer exchanges activations between all GPUs: only links within a node are fast enough
    )
