"""A replica is killed while requests are under way."""

from __future__ import annotations

import asyncio
import time

import httpx

from tests.clusters import RunningCluster
from tests.resilience.conftest import Keyed

REQUESTS = 200
BACK_WITHIN_S = 90.0


def body(cluster: RunningCluster, number: int) -> dict[str, object]:
    return {"model": cluster.model, "input": f"Request {number}: late delivery and its penalty.", "dimensions": 64}


async def send_all(cluster: RunningCluster) -> list[httpx.Response]:
    """200 requests at once, and the death of one replica in the midst of them."""
    limits = httpx.Limits(max_connections=REQUESTS)
    async with httpx.AsyncClient(base_url=cluster.endpoint, limits=limits, timeout=90) as client:
        requests = [
            asyncio.create_task(client.post("/v1/embeddings", json=body(cluster, number))) for number in range(REQUESTS)
        ]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        cluster.replicas(f"Embedder-{cluster.model}")[0].kill()
        return await asyncio.gather(*requests)


def test_no_client_notices_the_death_of_one_of_two_replicas(pair: RunningCluster) -> None:
    assert len(pair.replicas(f"Embedder-{pair.model}")) == 2

    answers = asyncio.run(send_all(pair))

    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert all(len(answer.json()["data"][0]["embedding"]) == 64 for answer in answers)


def test_without_any_replica_clients_are_told_when_to_come_back_until_it_is_there(small: Keyed) -> None:
    running, url = small.running, f"{small.running.endpoint}/v1/embeddings"
    assert httpx.post(url, json=body(running, 0), headers=small.headers, timeout=30).status_code == 200
    running.replicas("Embedder-")[0].kill()

    died, statuses = time.monotonic(), [0]
    while statuses[-1] != 200 and time.monotonic() < died + BACK_WITHIN_S:
        answer = httpx.post(url, json=body(running, len(statuses)), headers=small.headers, timeout=30)
        statuses.append(answer.status_code)
        assert answer.headers.get("retry-after", "").isdigit() == (answer.status_code == 503)
        time.sleep(0.2)

    assert statuses[1] == 503
    assert set(statuses[1:]) == {503, 200}
