from __future__ import annotations

import pytest
from ray import serve

from serve_app.placement import placement_of
from serve_app.settings import EMBEDDER_CPUS, ModelSettings


@pytest.mark.parametrize("gpus", [0, 0.25, 1])
def test_a_replica_of_a_whole_model_takes_its_part_of_a_gpu(gpus: float) -> None:
    placement = placement_of(ModelSettings(path="m", gpus_per_replica=gpus))
    assert placement.ray_actor_options == {"num_cpus": EMBEDDER_CPUS, "num_gpus": gpus}
    assert placement.deployment_options() == {"ray_actor_options": placement.ray_actor_options}


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_split_model_gets_a_bundle_with_a_gpu_for_every_rank_on_one_node(ranks: int) -> None:
    placement = placement_of(ModelSettings(path="m", gpus_per_replica=1, tensor_parallel=ranks))
    assert placement.placement_group_bundles is not None
    assert [bundle["GPU"] for bundle in placement.placement_group_bundles] == [1] * ranks
    assert placement.placement_group_strategy == "STRICT_PACK"


def test_the_replica_of_a_split_model_fits_the_first_bundle_beside_the_process_that_takes_the_gpu() -> None:
    placement = placement_of(ModelSettings(path="m", gpus_per_replica=1, tensor_parallel=2))
    assert placement.ray_actor_options["num_gpus"] == 0
    assert placement.placement_group_bundles is not None
    assert placement.placement_group_bundles[0]["CPU"] >= placement.ray_actor_options["num_cpus"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_serve_accepts_the_placement(ranks: int) -> None:
    class Replica:
        pass

    placement = placement_of(ModelSettings(path="m", gpus_per_replica=1, tensor_parallel=ranks))
    deployment = serve.deployment(name="Replica", **placement.deployment_options())(Replica)
    assert deployment.ray_actor_options == placement.ray_actor_options
    assert deployment._replica_config.placement_group_bundles == placement.placement_group_bundles
