"""Replicas that come with the load and go after it, on a real cluster: 1→2→1 and 0→1→0."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.clusters import RunningCluster, serving

CONFIG = """
models:
  - path: {checkpoint}
    name: steady
    engine: {{threads: 1, compile: false}}
    autoscaling: {{min_replicas: 1, max_replicas: 2, target_wait_s: 0.2, cold_start_s: 1, downscale_after_s: 6}}
  - path: {checkpoint}
    name: rare
    engine: {{threads: 1, compile: false}}
    autoscaling: {{min_replicas: 0, max_replicas: 1, target_wait_s: 0.2, cold_start_s: 20, downscale_after_s: 2}}
router:
  cache_mib: 0
limits:
  request_timeout_s: {patience_s}
  max_wait_s: {patience_s}
"""
CLIENTS = 6
TEXTS = 12
WORDS = "the penalty for late delivery and how it is computed " * 40  # so long that the engine is what is slow
PATIENCE_S = 200.0  # a replica starts in 10 s, on a machine that does nothing else
UP_WITHIN_S = 150.0
STARTING = ".initialize_and_get_metadata"  # Ray adds what an actor is busy with to its process's title
LOOK_S, BUSY_S = 2.0, 0.2  # of CPU time
DOWN_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def scaled(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    directory = tmp_path_factory.mktemp("scaled")
    config = directory / "cluster.yaml"
    config.write_text(CONFIG.format(checkpoint=checkpoint, patience_s=PATIENCE_S))
    with serving(checkpoint, directory / "serve.log", "--config", str(config)) as running:
        yield running


def two_compute(cluster: RunningCluster) -> bool:
    """Whether two replicas of `steady` are past their start and both are at work."""
    serving_now = [process for process in cluster.replicas("Embedder-steady") if STARTING not in process.cmdline()[0]]
    before = [sum(process.cpu_times()[:2]) for process in serving_now]
    if len(before) < 2:
        return False
    time.sleep(LOOK_S)
    return all(sum(process.cpu_times()[:2]) - then > BUSY_S for process, then in zip(serving_now, before, strict=True))


def body(model: str, number: int, texts: int) -> dict[str, object]:
    return {"model": model, "input": [f"{number}.{text}: {WORDS}" for text in range(texts)], "dimensions": 64}


def eventually(is_so: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.25)
    return False


async def load_until(cluster: RunningCluster, is_enough: Callable[[], bool], within_s: float) -> tuple[bool, list[int]]:
    """Whether it was enough in time, and the status of every answer."""
    statuses: list[int] = []
    stop = asyncio.Event()

    async def send_on(number: int) -> None:
        while not stop.is_set():
            answer = await client.post("/v1/embeddings", json=body("steady", number + len(statuses), TEXTS))
            statuses.append(answer.status_code)

    async with httpx.AsyncClient(base_url=cluster.endpoint, timeout=PATIENCE_S) as client:
        senders = [asyncio.create_task(send_on(1000 * number)) for number in range(CLIENTS)]
        reached = await asyncio.to_thread(eventually, is_enough, within_s)
        stop.set()
        await asyncio.gather(*senders)
    return reached, statuses


def test_a_model_sleeps_until_a_request_wakes_it_and_then_sleeps_again(scaled: RunningCluster) -> None:
    assert eventually(lambda: not scaled.replicas("Embedder-rare"), DOWN_WITHIN_S)
    for path in ("/ready", "/v1/models", "/metrics"):
        assert httpx.get(f"{scaled.endpoint}{path}", timeout=30).status_code == 200
    assert not eventually(lambda: bool(scaled.replicas("Embedder-rare")), within_s=2.0)

    answer = httpx.post(f"{scaled.endpoint}/v1/embeddings", json=body("rare", 0, 1), timeout=PATIENCE_S)

    assert answer.status_code == 200
    assert len(scaled.replicas("Embedder-rare")) == 1
    assert eventually(lambda: not scaled.replicas("Embedder-rare"), DOWN_WITHIN_S)


def test_a_second_replica_comes_under_load_and_goes_after_it_without_an_error(scaled: RunningCluster) -> None:
    assert len(scaled.replicas("Embedder-steady")) == 1

    reached, statuses = asyncio.run(load_until(scaled, lambda: two_compute(scaled), UP_WITHIN_S))

    assert set(statuses) == {200}
    assert reached
    assert eventually(lambda: len(scaled.replicas("Embedder-steady")) == 1, DOWN_WITHIN_S)
    answer = httpx.post(f"{scaled.endpoint}/v1/embeddings", json=body("steady", 0, 1), timeout=PATIENCE_S)
    assert answer.status_code == 200
