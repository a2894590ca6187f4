"""What a Router tells of a model that may sleep: asking must not wake it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.profile import ModelProfile
from serve_app.settings import AppSettings, AutoscalingSettings
from tests.unit.serve_app.profiles import QWEN3
from tests.unit.serve_app.surface import FakeHandle, Method, send, settings, surface


class Told:
    def __init__(self, profiles: list[ModelProfile]) -> None:
        self._profiles = profiles

    async def results_async(self) -> list[ModelProfile]:
        if not self._profiles:
            raise DeploymentUnavailableError("Embedder-qwen3")  # type: ignore[arg-type]
        return self._profiles


class SleepyHandle(FakeHandle):
    """As Serve with no replica: a broadcast is refused, and a call would be parked and start one."""

    def __init__(self, running: list[ModelProfile]) -> None:
        super().__init__()
        self._running = running
        self.describe = Method(self._wake)

    async def _wake(self) -> Any:
        pytest.fail("a replica would have been started")

    def broadcast(self, method: str) -> Told:
        assert method == "describe"
        return Told(self._running)


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


def test_a_model_that_may_not_sleep_is_ready_only_if_a_replica_answers(tmp_path: Path) -> None:
    async def is_gone() -> ModelProfile:
        raise ReplicaUnavailable("Gone.")

    handle = FakeHandle()
    app = surface(sleepy(tmp_path, least=1), handle)
    assert send(app, "GET", "/ready").status_code == 200
    handle.describe = Method(is_gone)
    assert send(app, "GET", "/ready").status_code == 503
