"""`embedctl drain` names its own node and says what the cluster answered."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from cluster.commands import drain
from serve_app.core.errors import SetupError


def answers(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(drain, "_this_node", lambda: "ab12")
    return asked


def test_it_drains_its_own_node_within_its_time_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, 0, "")
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    drain.drain(90)
    options = dict(zip(asked[0][2::2], asked[0][3::2], strict=True))
    assert asked[0][1] == "drain-node"
    assert (options["--node-id"], options["--deadline-remaining-seconds"]) == ("ab12", "90")
    assert 80 < waits[0] <= 90


def test_a_refusal_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, 1, "Usage\nError: The drain request is not accepted: busy\n")
    monkeypatch.setattr("time.sleep", pytest.fail)
    with pytest.raises(SetupError, match="not accepted: busy"):
        drain.drain(90)


def test_a_ray_that_wants_a_token_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AuthenticationError("Token authentication is enabled but no authentication token was found")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(drain, "prepare_client_environment", lambda: None)
    with pytest.raises(SetupError, match="The cluster asks for a token"):
        drain.drain(90)
