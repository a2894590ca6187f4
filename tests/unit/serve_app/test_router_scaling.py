"""What a Router tells of a model that may sleep: asking must not wake it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.profile import ModelProfile
from serve_app.dispatch import slice_client
from serve_app.settings import AppSettings, AutoscalingSettings
from tests.unit.serve_app.broadcasting import HANGS, Broadcast
from tests.unit.serve_app.profiles import QWEN3
from tests.unit.serve_app.surface import FakeHandle, Method, send, settings, surface


class SleepyHandle(FakeHandle):
    """As Serve with no replica: a broadcast is refused, and a call would be parked and start one."""

    def __init__(self, running: list[Any]) -> None:
        super().__init__()
        self._running = running
        self.describe = Method(self._wake)

    async def _wake(self) -> Any:
        pytest.fail("a replica would have been started")

    def broadcast(self, method: str) -> Broadcast:
        assert method == "describe"
        asleep = None if self._running else DeploymentUnavailableError("Embedder-qwen3")  # type: ignore[arg-type]
        return Broadcast(self._running, asleep)


def sleepy(directory: Path, least: int) -> AppSettings:
    given = settings(directory)
    scaling = AutoscalingSettings(min_replicas=least, max_replicas=2)
    return given.model_copy(update={"models": (given.models[0].model_copy(update={"autoscaling": scaling}),)})


@pytest.mark.parametrize("running", [[], [replace(QWEN3, name="qwen3")]], ids=["asleep", "awake"])
def test_a_model_that_may_sleep_is_ready_and_listed_without_being_woken(
    tmp_path: Path, running: list[ModelProfile]
) -> None:
    app = surface(sleepy(tmp_path, least=0), SleepyHandle(running))
    assert send(app, "GET", "/ready").status_code == 200
    listed = send(app, "GET", "/v1/models").json()["data"]
    assert listed[0]["id"] == "qwen3"


@pytest.mark.parametrize("other", [HANGS, RayActorError()], ids=["hangs", "died"])
def test_one_replica_that_does_not_answer_does_not_hide_what_another_one_says(
    other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slice_client, "DESCRIBE_LIMIT_S", 0.05)
    app = surface(sleepy(tmp_path, least=0), SleepyHandle([other, replace(QWEN3, name="qwen3")]))
    assert send(app, "GET", "/v1/models/qwen3").json()["fingerprint"] == QWEN3.fingerprint


def test_a_model_that_may_not_sleep_is_ready_only_if_a_replica_answers(tmp_path: Path) -> None:
    async def is_gone() -> ModelProfile:
        raise ReplicaUnavailable("Gone.")

    handle = FakeHandle()
    app = surface(sleepy(tmp_path, least=1), handle)
    assert send(app, "GET", "/ready").status_code == 200
    handle.describe = Method(is_gone)
    assert send(app, "GET", "/ready").status_code == 503
