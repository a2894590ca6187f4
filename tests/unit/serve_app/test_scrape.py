"""A scrape asks every replica; a model that sleeps is no trouble, one that has lost its replicas is."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray.exceptions import RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.dispatch.slice_client import EmbedderHandle
from serve_app.telemetry import scrape
from serve_app.telemetry.scrape import gather
from tests.unit.serve_app.broadcasting import HANGS, Broadcast

ASLEEP = DeploymentUnavailableError(DeploymentID("Embedder-rare", "embed"))
UP = b"# HELP up x\n# TYPE up gauge\nup 1.0\n"


class Handle:
    """A deployment whose replicas answer a broadcast with `results`, or whose broadcast is refused with `refusal`."""

    def __init__(self, name: str, results: list[Any], refusal: Any = None) -> None:
        self.deployment_name = name
        self.told = Broadcast(results, refusal)

    def broadcast(self, method: str) -> Broadcast:
        assert method == "metrics"
        return self.told


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "SCRAPE_LIMIT_S", 0.05)


def scraped(*handles: Handle, sleepers: tuple[str, ...] = ()) -> bytes:
    return asyncio.run(gather([cast(EmbedderHandle, handle) for handle in handles], "r1", sleepers))


def samples_of(content: bytes) -> dict[tuple[str, str, str], float]:
    """By name, replica and deployment."""
    return {
        (sample.name, sample.labels["replica"], sample.labels.get("deployment", "")): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


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


def test_a_replica_that_hangs_is_left_out_alone_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Handle("Embedder-large", [("e1", UP), HANGS, ("e3", UP)])
    content = scraped(Handle("Router", [("r1", UP), ("r2", UP)]), hanging)
    assert samples_of(content) == {
        **{("up", replica, ""): 1.0 for replica in ("r1", "r2", "e1", "e3")},
        ("embed_scrape_missing", "r1", "Router"): 0.0,
        ("embed_scrape_missing", "r1", "Embedder-large"): 1.0,
    }
    assert [record.message for record in caplog.records] == ["left out of a scrape of Embedder-large: TimeoutError"]
    assert hanging.told.calls[1].is_cancelled


def test_a_router_that_cannot_ask_itself_still_tells_what_is_missing() -> None:
    assert samples_of(scraped(Handle("Router", [HANGS]))) == {("embed_scrape_missing", "r1", "Router"): 1.0}


@pytest.mark.parametrize(("refusal", "missing"), [(HANGS, 1.0), (ASLEEP, 0.0)], ids=["hangs", "asleep"])
def test_a_deployment_whose_replicas_are_not_known_counts_as_one_missing_unless_it_sleeps(
    refusal: Any, missing: float
) -> None:
    rare = Handle("Embedder-rare", [], refusal)
    found = samples_of(scraped(Handle("Router", [("r1", UP)]), rare, sleepers=("Embedder-rare",)))
    assert found["embed_scrape_missing", "r1", "Embedder-rare"] == missing
    assert found["up", "r1", ""] == 1.0
