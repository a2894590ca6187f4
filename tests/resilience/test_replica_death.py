"""A replica is killed while requests are under way."""

from __future__ import annotations

import asyncio
import time

import httpx
import openai
from prometheus_client.parser import text_string_to_metric_families

from serve_app.telemetry.metrics import RETRIES
from tests.clusters import RunningCluster
from tests.resilience.conftest import Keyed

REQUESTS = 200
CROWD = 6
LONG = "Late delivery costs one percent of the contract value for every week that has begun. " * 6
BACK_WITHIN_S = 90.0


def body(cluster: RunningCluster, number: int) -> dict[str, object]:
    return {"model": cluster.model, "input": f"Request {number}: {LONG}", "dimensions": 64}


async def send_all(cluster: RunningCluster) -> list[httpx.Response]:
    """200 requests at once, and the death of one replica in the midst of them."""
    limits = httpx.Limits(max_connections=REQUESTS)
    replica = cluster.replicas(f"Embedder-{cluster.model}")[0]
    async with httpx.AsyncClient(base_url=cluster.endpoint, limits=limits, timeout=90) as client:
        requests = [
            asyncio.create_task(client.post("/v1/embeddings", json=body(cluster, number))) for number in range(REQUESTS)
        ]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        replica.kill()
        return await asyncio.gather(*requests)


def slices_sent_again(cluster: RunningCluster) -> float:
    families = text_string_to_metric_families(httpx.get(f"{cluster.endpoint}/metrics", timeout=30).text)
    samples = [sample for family in families if family.name == RETRIES.name for sample in family.samples]
    return sum(sample.value for sample in samples if sample.labels["model"] == cluster.model)


def test_no_client_notices_the_death_of_one_of_two_replicas(pair: RunningCluster) -> None:
    assert len(pair.replicas(f"Embedder-{pair.model}")) == 2
    before = slices_sent_again(pair)

    answers = asyncio.run(send_all(pair))

    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert all(len(answer.json()["data"][0]["embedding"]) == 64 for answer in answers)
    assert slices_sent_again(pair) > before  # the one that died had work


def status_of(outcome: int | BaseException) -> int:
    """Of an answer, or of the client's error if that is the right one for its status."""
    if isinstance(outcome, int):
        return outcome
    assert isinstance(outcome, openai.InternalServerError), outcome
    assert outcome.code == "replica_unavailable"
    assert int(outcome.response.headers["retry-after"]) >= 2  # a start takes seconds, and that is what it says
    return outcome.status_code


async def statuses_around_the_death(cluster: Keyed) -> tuple[list[int], list[int]]:
    """Of requests under way when the only replica dies, the largest first, and of those sent when it is dead."""
    base_url = f"{cluster.running.endpoint}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key=cluster.key, max_retries=0) as client:

        async def ask(number: int, texts: int) -> int:
            input_ = [f"{number}.{row}: {LONG}" for row in range(texts)]
            await client.embeddings.create(model=cluster.running.model, input=input_)
            return 200

        def crowd(first: int) -> list[asyncio.Task[int]]:
            return [asyncio.create_task(ask(number, 4)) for number in range(first, first + CROWD)]

        (replica,) = cluster.running.replicas("Embedder-")
        under_way = [asyncio.create_task(ask(0, 150)), *crowd(1)]  # the others take turns with it, and end before it
        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        replica.kill()
        orphaned = await asyncio.gather(*under_way, return_exceptions=True)
        refused = await asyncio.gather(*crowd(1 + CROWD), return_exceptions=True)
        return list(map(status_of, orphaned)), list(map(status_of, refused))


def test_without_any_replica_clients_are_told_when_to_come_back_until_it_is_there(small: Keyed) -> None:
    running, url = small.running, f"{small.running.endpoint}/v1/embeddings"
    under_way, sent_later = asyncio.run(statuses_around_the_death(small))
    died, statuses = time.monotonic(), [0]
    while statuses[-1] != 200 and time.monotonic() < died + BACK_WITHIN_S:
        answer = httpx.post(url, json=body(running, len(statuses)), headers=small.headers, timeout=30)
        statuses.append(answer.status_code)
        assert answer.headers.get("retry-after", "").isdigit() == (answer.status_code == 503)
        time.sleep(0.2)

    assert (under_way[0], set(under_way)) == (503, {200, 503})
    assert sent_later == [503] * CROWD
    assert statuses[1] == 503
    assert (set(statuses[1:]), statuses[-1]) == ({503, 200}, 200)
