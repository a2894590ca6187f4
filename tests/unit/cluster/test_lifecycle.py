from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from cluster.cli import app, main
from cluster.config import ClusterConfig
from cluster.running import lifecycle, local
from cluster.running.lifecycle import wait_until_running
from cluster.running.preflight import NodeLook, check_http, check_nodes, check_resources, check_splits
from cluster.running.serve_state import ApplicationState, DeploymentState
from serve_app.core.errors import SetupError
from serve_app.settings import AppSettings


def config(**model: Any) -> ClusterConfig:
    return ClusterConfig.model_validate({"models": [{"path": "a/b", **model}]})


def state(status: str, message: str = "", deployment_status: str = "UPDATING") -> ApplicationState:
    embedder = DeploymentState("Embedder-b", deployment_status, message, 1, {"r1": "STARTING"})
    return ApplicationState(status, "", {"Embedder-b": embedder})


def wait(*states: ApplicationState | None, timeout_s: float = 60.0) -> list[str]:
    """What was reported until the last of the states."""
    looks: Iterator[ApplicationState | None] = iter(states)
    reported: list[str] = []
    wait_until_running(lambda: next(looks), timeout_s, lambda s: reported.append(s.status), lambda _: None)
    return reported


def test_waiting_ends_when_the_application_runs() -> None:
    assert wait(state("DEPLOYING"), state("UNHEALTHY"), state("RUNNING")) == ["DEPLOYING", "UNHEALTHY", "RUNNING"]


def test_a_failed_start_is_explained_by_the_replicas_own_error() -> None:
    message = "It failed 3 times:\nTraceback\nserve_app.core.errors.SetupError: There is no checkpoint.\n"
    with pytest.raises(
        SetupError, match=r"did not start: serve_app\.core\.errors\.SetupError: There is no checkpoint\.$"
    ):
        wait(state("DEPLOYING"), state("DEPLOY_FAILED", message, "DEPLOY_FAILED"))


def test_a_start_that_takes_too_long_says_what_it_waits_for() -> None:
    waiting = state("DEPLOYING", "Deployment has taken too long: 1 GPU is not there")
    with pytest.raises(SetupError, match=r"not ready within 0 s \(Embedder-b: 0 of 1 .*1 GPU is not there\)"):
        wait(waiting, timeout_s=0)


def test_an_application_that_somebody_removes_is_not_waited_for() -> None:
    with pytest.raises(SetupError, match="was removed"):
        wait(state("DEPLOYING"), None)


def test_a_cluster_with_too_few_gpus_is_refused_with_both_numbers() -> None:
    with pytest.raises(SetupError, match=r"asks for 4 GPUs and the cluster has 2: lower"):
        check_resources(config(gpus_per_replica=1, replicas=4), {"CPU": 64, "GPU": 2}, "the cluster")


def test_a_replica_that_fits_no_node_is_refused_although_the_cluster_has_enough() -> None:
    split = config(gpus_per_replica=1, tensor_parallel=4)
    check_splits(split, [{"GPU": 4.0}, {"GPU": 2.0}])
    with pytest.raises(SetupError, match=r"b needs 4 GPUs on one node and the largest node has 2"):
        check_splits(split, [{"GPU": 2.0}, {"GPU": 2.0}])


def test_a_model_without_gpus_needs_none_on_any_node() -> None:
    check_splits(config(), [{"CPU": 4.0}])


def test_a_port_that_would_have_to_move_is_refused() -> None:
    running = {"http_options": {"host": "0.0.0.0", "port": 8001}}  # noqa: S104
    with pytest.raises(SetupError, match=r"listens on 0\.0\.0\.0:8001 and `http` says 127\.0\.0\.1:8000"):
        check_http(config(), running)
    check_http(config(), {"http_options": {"host": "127.0.0.1", "port": 8000}})
    check_http(config(), None)


def test_a_node_with_another_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.running.preflight.product_version", lambda: "2.0")
    check_nodes([NodeLook("10.0.0.1", "2.0", ())])
    with pytest.raises(SetupError, match=r"Node 10\.0\.0\.2 has embed-cluster 1\.9 and this machine has 2\.0"):
        check_nodes([NodeLook("10.0.0.1", "2.0", ()), NodeLook("10.0.0.2", "1.9", ())])


def test_a_node_without_our_environment_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.running.preflight.product_version", lambda: "2.0")
    with pytest.raises(SetupError, match=r"without RAY_SERVE_A .*embedctl env"):
        check_nodes([NodeLook("10.0.0.1", "2.0", ("RAY_SERVE_A", "RAY_SERVE_B"))])


@pytest.mark.parametrize("more", [{}, {"gpus_per_replica": 1, "tensor_parallel": 2}, {"engine": {"max_tokens": 512}}])
def test_settings_that_were_asked_for_deploy_to_the_replicas_that_already_run(more: dict[str, Any]) -> None:
    from serve_app.app import build

    def what_serve_compares(settings: AppSettings) -> list[str]:
        router = build(settings)._bound_deployment
        _, handles = cast(tuple[Any, dict[str, Any]], router.init_args)
        deployments = [router, *(handle._bound_deployment for handle in handles.values())]
        return [f"{d.version} {json.dumps(d.ray_actor_options)} {json.dumps(d.user_config)}" for d in deployments]

    settings = config(**more).app
    told = AppSettings.model_validate_json(settings.model_dump_json())
    assert what_serve_compares(told) == what_serve_compares(settings)


RAYS_WORDS = """Version mismatch: The cluster was started with:
    Ray: 2.60.0
    Python: 3.11.2
This process on node with IP address: 127.0.0.1 was started with:
    Ray: 2.55.1
    Python: 3.12.1
"""


def test_other_versions_on_the_cluster_are_one_sentence() -> None:
    assert local._other_versions(RAYS_WORDS) == (
        "The cluster runs Ray 2.60.0 on Python 3.11.2 and this machine has Ray 2.55.1 on Python 3.12.1: "
        "run embedctl where both are the same, for instance on a node of the cluster."
    )


@pytest.mark.parametrize("text", ["prests: {}\n", "models: [\n", "http: {port: 99999}\n"])
def test_a_wrong_configuration_ends_with_2_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(lifecycle, "connect", lambda _: pytest.fail("it was connected to a cluster"))
    monkeypatch.setattr("sys.argv", ["embedctl", "deploy", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    result = CliRunner().invoke(app, ["status", "--address", "127.0.0.1:1"])
    assert isinstance(result.exception, SetupError)
    assert result.exception.message.startswith("No Ray cluster answers at 127.0.0.1:1;")
