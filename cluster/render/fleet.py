"""How many pods of which size the replicas need, and that each finds its place there."""

from __future__ import annotations

from math import ceil, floor

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.render import gpu_pods
from cluster.render.places import ROUTER, ROUTER_GROUP, place, places_of
from cluster.render.worker_group import NODE_SHARE, WorkerGroup, hardware_of
from serve_app.core.errors import SetupError
from serve_app.settings import EMBEDDER_CPUS, ROUTER_CPUS, ModelSettings

CPU_NODE_SHARE = 0.75  # of the cores of a node without GPUs
ROUTERS_PER_POD = 2
ROUTER_CPUS_ON_FLEET = 1.0  # one Router keeps one core busy; and a GPU pod has not that much to spare
ROUTER_BASE_GIB = 2.0  # of one process: libraries, tokenizers
ROUTER_SURGE_PERCENT = 100


def worker_groups(config: ClusterConfig) -> tuple[WorkerGroup, ...]:
    """Raises SetupError if the nodes are not described, or are too few or too small."""
    return (*gpu_pods.gpu_groups(config), _router_group(config)) if _has_gpus(config) else (_cpu_group(config),)


def actor_cpus(config: ClusterConfig) -> dict[str, float]:
    """Logical CPUs of one replica of each deployment. Raises SetupError if a pod's do not suffice."""
    if _has_gpus(config):
        return {ROUTER: ROUTER_CPUS_ON_FLEET, **dict.fromkeys(_deployments(config), EMBEDDER_CPUS)}
    group = _cpu_group(config)
    places = dict(group.places)
    routers = places.pop(place(ROUTER_GROUP)) * ROUTER_CPUS
    replicas = sum(places.values())
    share = floor((group.ray_cpus - routers) / replicas * 10) / 10
    if share <= 0:
        raise SetupError(
            f"`models`: {replicas} replicas and their Routers do not fit on a node with `hardware.cpus_per_node` "
            f"{hardware_of(config).cpus_per_node}: lower `replicas` or `router.replicas`, or give more nodes."
        )
    return {ROUTER: ROUTER_CPUS, **dict.fromkeys(_deployments(config), share)}


def surge_percent(config: ClusterConfig) -> dict[str, int]:
    """How many of a deployment's new replicas may start before its old ones leave: those for which there is room.

    Serve would wait for ever for room that never comes.
    """
    surge = gpu_pods.surge_percent(config) if _has_gpus(config) else 0
    return {ROUTER: ROUTER_SURGE_PERCENT, **dict.fromkeys(_deployments(config), surge)}


def _deployments(config: ClusterConfig) -> list[str]:
    return [model.deployment for model in config.models]


def _has_gpus(config: ClusterConfig) -> bool:
    return any(model.gpus_per_replica for model in config.models)


def _router_group(config: ClusterConfig) -> WorkerGroup:
    routers = min(ROUTERS_PER_POD, config.router.replicas)
    pods = ceil(config.router.replicas / routers)
    each_gib = ROUTER_BASE_GIB + (config.router.cache_mib + config.limits.max_buffered_mib) / 1024
    return WorkerGroup(
        name=ROUTER_GROUP,
        component="router",
        cpus=routers,
        memory_gib=ceil(routers * each_gib) + 1,
        gpus=0,
        ray_cpus=routers,
        pods=pods,
        min_pods=pods,
        max_pods=2 * pods,  # a rolling update starts the new ones first
        places={place(ROUTER_GROUP): routers},
    )


def _cpu_group(config: ClusterConfig) -> WorkerGroup:
    """A pod takes a node: an engine uses all the cores it sees. It has places for Routers and for every model."""
    hardware = hardware_of(config)
    cpus = max(1, floor(hardware.cpus_per_node * CPU_NODE_SHARE))
    names = places_of(config.models)
    places = {names[model.deployment]: _on_a_node(model, hardware) for model in config.models}
    return WorkerGroup(
        name="embedder",
        component="embedder",
        cpus=cpus,
        memory_gib=max(2, floor(hardware.memory_gib_per_node * NODE_SHARE)),
        gpus=0,
        ray_cpus=cpus,
        pods=hardware.nodes,
        min_pods=hardware.nodes,
        max_pods=hardware.most_nodes,
        places={names[ROUTER]: 2 * ceil(config.router.replicas / hardware.nodes), **places},  # twice: while they surge
    )


def _on_a_node(model: ModelSettings, hardware: HardwareSettings) -> int:
    """Replicas of a model, whether the fewest nodes hold those it starts with or the most nodes the most of them."""
    return max(ceil(model.replicas / hardware.nodes), ceil(model.most_replicas / hardware.most_nodes))
