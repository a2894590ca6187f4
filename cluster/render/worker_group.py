"""Pods that are all alike, and what they take of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.config import ClusterConfig, ConfigError
from cluster.hardware import HardwareSettings

NODE_SHARE = 0.6  # of a node's memory, and of a GPU node's cores; Routers, the head and the system have the rest


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """`places`: replicas that a pod takes, by the Ray resource of their deployment. `ray_cpus` are logical likewise."""

    name: str
    component: Literal["embedder", "router"]
    cpus: int
    memory_gib: int
    gpus: int
    ray_cpus: int
    pods: int
    min_pods: int
    max_pods: int
    places: Mapping[str, int]


def hardware_of(config: ClusterConfig) -> HardwareSettings:
    """Raises ConfigError if the configuration does not say what a node is like."""
    if config.hardware is None:
        raise ConfigError(
            "`hardware` is not set, and the size of pods follows from it: describe a node (`gpu`, `gpus_per_node`, "
            "`cpus_per_node`, `memory_gib_per_node`, `nodes`), or start from a preset."
        )
    return config.hardware
