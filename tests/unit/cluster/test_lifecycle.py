from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import ray
from ray import serve
from ray.exceptions import AuthenticationError
from typer.testing import CliRunner

from cluster.cli import app, main
from cluster.config import ClusterConfig
from cluster.running import lifecycle, local, removal
from cluster.running.lifecycle import wait_until_running
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
    with pytest.raises(SetupError, match=r"did not start: There is no checkpoint\.$"):
        wait(state("DEPLOYING"), state("DEPLOY_FAILED", message, "DEPLOY_FAILED"))


def test_a_start_that_takes_too_long_says_what_it_waits_for() -> None:
    waiting = state("DEPLOYING", "Deployment has taken too long: 1 GPU is not there")
    with pytest.raises(SetupError, match=r"not ready within 0 s \(Embedder-b: 0 of 1 .*1 GPU is not there\)"):
        wait(waiting, timeout_s=0)


def test_an_application_that_somebody_removes_is_not_waited_for() -> None:
    with pytest.raises(SetupError, match="was removed"):
        wait(state("DEPLOYING"), None)


class Serve:
    """A Serve that has the applications; ours goes when it is told to, unless it is `stuck`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, is_stuck: bool = False) -> None:
        self.names = list(names)
        self.is_stuck = is_stuck
        self.is_stopped = False
        monkeypatch.setattr(removal, "serve_details", self.details)
        monkeypatch.setattr(removal, "connect", lambda _: None)
        monkeypatch.setattr(serve, "delete", self.delete)
        monkeypatch.setattr(serve, "shutdown", self.stop)

    def details(self) -> dict[str, Any]:
        return {"applications": {name: {"status": "RUNNING", "deployments": {}} for name in self.names}}

    def delete(self, name: str, _blocking: bool) -> None:
        self.names = [other for other in self.names if other != name or self.is_stuck]

    def stop(self) -> None:
        self.is_stopped = True


def failed() -> str:
    """What is said after a first deployment that did not start."""
    return lifecycle._take_back(None, None, 0.0, lambda _: None)


def test_a_failed_first_deployment_leaves_other_applications_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Serve(monkeypatch, "embed", "other")
    assert failed() == "It was removed again; Serve stays for other."
    assert (running.names, running.is_stopped) == (["other"], False)


def test_a_failed_first_deployment_leaves_no_serve_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Serve(monkeypatch, "embed")
    assert failed() == "It was removed again; nothing is deployed."
    assert running.is_stopped


def test_a_removal_that_takes_too_long_does_not_hide_why_the_deployment_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Serve(monkeypatch, "embed", is_stuck=True)
    said = failed()
    assert said == "It was not removed: The application is still finishing its requests after 0 s: try again."
    assert not running.is_stopped


def test_going_down_leaves_other_applications_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Serve(monkeypatch, "embed", "other")
    assert removal.take_down("auto", 0.0).endswith("Serve stays for other.")
    assert not running.is_stopped


def test_a_cluster_that_asks_for_a_token_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AuthenticationError("Token authentication is enabled but no authentication token was found")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(local, "prepare_client_environment", lambda: None)
    with pytest.raises(SetupError, match=r"asks for a token.*copy ~/\.ray/auth_token from a node"):
        local.connect("auto")


@pytest.mark.parametrize("address", ["localhost", ":6379", "ray://head:port"])
def test_an_address_without_host_or_port_is_named(address: str) -> None:
    with pytest.raises(SetupError, match=f"`{address}` is no address of a Ray cluster: give HOST:PORT"):
        local.connect(address)


def test_what_is_no_ray_cluster_at_an_address_is_one_sentence_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(local, "prepare_client_environment", lambda: None)
    monkeypatch.setattr(local, "_check_reachable", lambda _: None)
    with pytest.raises(SetupError, match=r"What listens at head:80 does not answer as a Ray cluster.*auth_token"):
        local.connect("head:80")


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
