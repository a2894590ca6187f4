"""How many pods of which size the replicas need."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from serve_app.core.errors import SetupError
from serve_app.settings import EMBEDDER_CPUS, ROUTER_CPUS, ModelSettings

NODE_SHARE = 0.6  # of a node's memory, and of a GPU node's cores; Routers, the head and the system have the rest
CPU_NODE_SHARE = 0.75  # of the cores of a node without GPUs
ROUTERS_PER_POD = 2
ROUTER_CPUS_ON_FLEET = 1.0  # one Router keeps one core busy; and a GPU pod has not that much to spare
ROUTER_BASE_GIB = 2.0  # of one process: libraries, tokenizers


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Pods that are all alike. `ray_cpus` are logical: they decide what Ray places there."""

    name: str
    cpus: int
    memory_gib: int
    gpus: int
    ray_cpus: int
    pods: int
    min_pods: int
    max_pods: int


def worker_groups(config: ClusterConfig) -> tuple[WorkerGroup, ...]:
    """Raises SetupError if the nodes are not described, or are too few or too small."""
    return (_gpu_group(config), _router_group(config)) if _has_gpus(config) else (_cpu_group(config),)


def actor_cpus(config: ClusterConfig) -> dict[str, float]:
    """Logical CPUs of one replica of each deployment."""
    if _has_gpus(config):
        return {"Router": ROUTER_CPUS_ON_FLEET, **dict.fromkeys(_deployments(config), EMBEDDER_CPUS)}
    group = _cpu_group(config)
    per_pod = ceil(sum(model.most_replicas for model in config.models) / group.max_pods)
    routers = 2 * ROUTER_CPUS * ceil(config.router.replicas / group.min_pods)  # an update starts the new ones first
    share = floor((group.ray_cpus - routers) / per_pod * 10) / 10
    if share <= 0:
        raise SetupError(
            f"`models`: {per_pod} replicas and their Routers do not fit on a node with `hardware.cpus_per_node` "
            f"{_hardware(config).cpus_per_node}: lower `replicas` or `router.replicas`, or give more nodes."
        )
    return {"Router": ROUTER_CPUS, **dict.fromkeys(_deployments(config), share)}


def surge_percent(config: ClusterConfig) -> dict[str, int]:
    """How many of a deployment's new replicas may start before its old ones leave: those for which there is room.

    Serve would wait for ever for room that never comes.
    """
    return {"Router": 100, **dict.fromkeys(_deployments(config), _room_percent(config))}


def _room_percent(config: ClusterConfig) -> int:
    if config.kubernetes.upgrade.strategy == "none" or not _has_gpus(config):
        return 0
    group = _gpu_group(config)
    return min(100, 100 * (group.max_pods - group.pods) // group.pods) if group.pods else 100


def _deployments(config: ClusterConfig) -> list[str]:
    return [model.deployment for model in config.models]


def _has_gpus(config: ClusterConfig) -> bool:
    return any(model.gpus_per_replica for model in config.models)


def _hardware(config: ClusterConfig) -> HardwareSettings:
    if config.hardware is None:
        raise SetupError(
            "`hardware` is not set, and the size of pods follows from it: describe a node (`gpu`, `gpus_per_node`, "
            "`cpus_per_node`, `memory_gib_per_node`, `nodes`), or start from a preset."
        )
    return config.hardware


def _gpu_group(config: ClusterConfig) -> WorkerGroup:
    """Pods as small as the replicas allow: a smaller pod finds a place sooner, and takes less with it when it goes."""
    hardware = _hardware(config)
    models = [model for model in config.models if model.gpus_per_replica]
    gpus = max(model.tensor_parallel for model in models)
    per_node = hardware.gpus_per_node // gpus
    if per_node == 0:
        raise SetupError(
            f"`models.tensor_parallel` is {gpus} and a node has `hardware.gpus_per_node` {hardware.gpus_per_node}: "
            "a replica stays within one node, so lower the first or take larger nodes."
        )
    starting = _pods(models, [_start(model) for model in models], gpus)
    fewest = _pods(models, [_fewest(model) for model in models], gpus)
    most = hardware.most_nodes * per_node
    if starting > most:
        raise SetupError(
            f"`models.replicas` needs {starting} pods of {gpus} GPUs and {hardware.most_nodes} nodes hold {most}: "
            "lower `replicas` or raise `hardware.max_nodes`."
        )
    replicas_per_pod = max(_per_pod(model, gpus) for model in models)
    return WorkerGroup(
        name="embedder",
        cpus=max(1, floor(hardware.cpus_per_node * NODE_SHARE / per_node)),
        memory_gib=max(1, floor(hardware.memory_gib_per_node * NODE_SHARE / per_node)),
        gpus=gpus,
        ray_cpus=ceil(EMBEDDER_CPUS * replicas_per_pod),
        pods=starting,
        min_pods=min(fewest, starting),
        max_pods=most,
    )


def _router_group(config: ClusterConfig) -> WorkerGroup:
    routers = min(ROUTERS_PER_POD, config.router.replicas)
    pods = ceil(config.router.replicas / routers)
    each_gib = ROUTER_BASE_GIB + (config.router.cache_mib + config.limits.max_buffered_mib) / 1024
    return WorkerGroup(
        name="router",
        cpus=routers,
        memory_gib=ceil(routers * each_gib) + 1,
        gpus=0,
        ray_cpus=routers,
        pods=pods,
        min_pods=pods,
        max_pods=2 * pods,  # a rolling update starts the new ones first
    )


def _cpu_group(config: ClusterConfig) -> WorkerGroup:
    """A pod takes a node: an engine uses all the cores it sees."""
    hardware = _hardware(config)
    cpus = max(1, floor(hardware.cpus_per_node * CPU_NODE_SHARE))
    return WorkerGroup(
        name="embedder",
        cpus=cpus,
        memory_gib=max(2, floor(hardware.memory_gib_per_node * NODE_SHARE)),
        gpus=0,
        ray_cpus=cpus,
        pods=hardware.nodes,
        min_pods=hardware.nodes,
        max_pods=hardware.most_nodes,
    )


def _start(model: ModelSettings) -> int:
    return model.replicas


def _fewest(model: ModelSettings) -> int:
    return model.replicas if model.autoscaling is None else model.autoscaling.min_replicas


def _per_pod(model: ModelSettings, gpus: int) -> int:
    """Replicas of one model in a pod of so many GPUs; a fraction of a GPU never spans two."""
    if model.tensor_parallel > 1:
        return gpus // model.tensor_parallel
    return gpus * floor(1 / model.gpus_per_replica + 1e-6)


def _pods(models: list[ModelSettings], replicas: list[int], gpus: int) -> int:
    return sum(ceil(count / _per_pod(model, gpus)) for model, count in zip(models, replicas, strict=True))
