"""A scrape asks every replica; a model that sleeps is no trouble, one that has lost its replicas is."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from ray.exceptions import RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.dispatch.slice_client import EmbedderHandle
from serve_app.telemetry.scrape import gather

ASLEEP = DeploymentUnavailableError(DeploymentID("Embedder-rare", "embed"))
UP = b"# HELP up x\n# TYPE up gauge\nup 1.0\n"


class Handle:
    """A deployment whose replicas answer a broadcast with `results`, or whose broadcast is refused with `refusal`."""

    def __init__(self, name: str, results: list[Any], refusal: Exception | None = None) -> None:
        self.deployment_name = name
        self._results = results
        self._refusal = refusal

    def broadcast(self, method: str) -> Handle:
        assert method == "metrics"
        return self

    async def results_async(self, return_exceptions: bool) -> list[Any]:
        assert return_exceptions
        if self._refusal is not None:
            raise self._refusal
        return self._results


def scraped(*handles: Handle, sleepers: tuple[str, ...] = ()) -> bytes:
    return asyncio.run(gather([cast(EmbedderHandle, handle) for handle in handles], sleepers))


@pytest.mark.parametrize(
    ("sleepers", "warnings"),
    [
        (("Embedder-rare",), []),
        ((), ["left out of a scrape of Embedder-rare: DeploymentUnavailableError"]),
    ],
)
def test_only_a_model_that_may_sleep_is_quietly_without_replicas(
    sleepers: tuple[str, ...], warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ray.serve"):
        content = scraped(Handle("Router", [("r1", UP)]), Handle("Embedder-rare", [], ASLEEP), sleepers=sleepers)
    assert b"up{" in content
    assert [record.message for record in caplog.records] == warnings


def test_a_replica_that_fails_is_told_of_although_its_model_may_sleep(caplog: pytest.LogCaptureFixture) -> None:
    handle = Handle("Embedder-rare", [RayActorError(), ("e1", UP)])
    with caplog.at_level(logging.WARNING, "ray.serve"):
        assert b"up{" in scraped(handle, sleepers=("Embedder-rare",))
    assert [record.message for record in caplog.records] == ["left out of a scrape of Embedder-rare: RayActorError"]
