"""Three times the load that the cluster can carry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import httpx
import openai

from tests.resilience.conftest import Keyed

TEXTS = 32  # in one request, so that a client written in Python can offer more than the engine computes
SECONDS = 6.0
LONGEST_WAIT_S = 10  # what may wait here is computed in a second or two
LINE = "Suppliers deliver within thirty days; late delivery costs one percent of the contract value a week. " * 3


@dataclass(frozen=True)
class Outcome:
    status: int
    ended: float
    retry_after: str


class Client:
    """Sends numbered requests, so that none repeats a text."""

    def __init__(self, cluster: Keyed) -> None:
        limits = httpx.Limits(max_connections=500)
        self._http = httpx.AsyncClient(
            base_url=cluster.running.endpoint, headers=cluster.headers, limits=limits, timeout=60
        )
        self._model = cluster.running.model
        self._sent = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, texts: list[str]) -> httpx.Response:
        body = {"model": self._model, "input": texts, "dimensions": 32, "encoding_format": "base64"}
        return await self._http.post("/v1/embeddings", json=body)

    async def send(self) -> Outcome:
        return await self.outcome([LINE] * TEXTS)

    async def outcome(self, texts: list[str]) -> Outcome:
        self._sent += 1
        answer = await self.ask([f"{self._sent}.{row}: {text}" for row, text in enumerate(texts)])
        return Outcome(answer.status_code, time.monotonic(), answer.headers.get("retry-after", ""))

    async def closed_loop(self, connections: int, seconds: float) -> float:
        """Requests a second that are answered when as many wait as the cluster likes."""
        until = time.monotonic() + seconds

        async def work() -> int:
            done = 0
            while time.monotonic() < until:
                done += (await self.send()).status == 200
            return done

        started = time.monotonic()
        return sum(await asyncio.gather(*(work() for _ in range(connections)))) / (time.monotonic() - started)

    async def open_loop(self, rate: float, seconds: float, kinds: Sequence[list[str]]) -> list[asyncio.Task[Outcome]]:
        """Requests of each kind in turn, sent on time, whatever becomes of the ones before; until sending stops."""
        sent: list[asyncio.Task[Outcome]] = []
        started = time.monotonic()
        while (now := time.monotonic()) < started + seconds:
            sent.append(asyncio.create_task(self.outcome(kinds[len(sent) % len(kinds)])))
            await asyncio.sleep(max(0.0, started + len(sent) / rate - now))
        return sent


@dataclass(frozen=True)
class Overload:
    """What became of three times the load that the cluster carried before, in requests a second and seconds."""

    capacity: float
    outcomes: list[Outcome]
    started: float
    recovery_s: float  # from the end of the load until a short text is answered

    @property
    def goodput(self) -> float:
        answered = [outcome.ended for outcome in self.outcomes if outcome.status == 200]
        return len(answered) / (max(answered) - self.started)


async def overload(cluster: Keyed) -> Overload:
    async with Client(cluster) as client:
        await client.closed_loop(4, 2.0)
        capacity = await client.closed_loop(4, SECONDS)
        started = time.monotonic()
        sent = await client.open_loop(3 * capacity, SECONDS, [[LINE] * TEXTS])
        ended = time.monotonic()
        while (await client.outcome(["Late?"])).status != 200:  # noqa: ASYNC110  # no event tells: the server is asked
            await asyncio.sleep(0.05)
        recovery_s = time.monotonic() - ended
        return Overload(capacity, await asyncio.gather(*sent), started, recovery_s)


def test_at_three_times_its_capacity_the_cluster_does_its_work_and_turns_the_rest_away(small: Keyed) -> None:
    seen = asyncio.run(overload(small))

    refused = [outcome for outcome in seen.outcomes if outcome.status != 200]
    assert {outcome.status for outcome in refused} == {429}
    assert all(outcome.retry_after.isdigit() for outcome in refused)
    assert seen.goodput >= 0.7 * seen.capacity  # the bar of 0.9 is for the benchmark, whose client takes no core
    assert seen.recovery_s < 2.0
    assert len(refused) > 0.3 * len(seen.outcomes)


def test_one_text_is_refused_like_many_of_as_many_tokens(small: Keyed) -> None:
    one, many = [LINE * TEXTS], [LINE] * TEXTS

    async def ask_for_both_in_turn() -> tuple[list[Outcome], Outcome]:
        async with Client(small) as client:
            capacity = await client.closed_loop(4, 1.0)
            outcomes = await asyncio.gather(*await client.open_loop(3 * capacity, SECONDS / 2, [one, many]))
            last = max((outcome for outcome in outcomes if outcome.status != 200), key=lambda outcome: outcome.ended)
            assert int(last.retry_after) <= LONGEST_WAIT_S
            await asyncio.sleep(last.ended + int(last.retry_after) - time.monotonic())
            return outcomes, await client.outcome(many)

    outcomes, later = asyncio.run(ask_for_both_in_turn())

    def share_refused(kind: list[Outcome]) -> float:
        return sum(outcome.status == 429 for outcome in kind) / len(kind)

    assert {outcome.status for outcome in outcomes} == {200, 429}
    assert abs(share_refused(outcomes[::2]) - share_refused(outcomes[1::2])) < 0.25
    assert later.status == 200


def test_the_official_client_is_told_when_to_come_back_and_is_answered_then(small: Keyed) -> None:
    async def ask(client: openai.AsyncOpenAI, number: int) -> int:
        texts = [f"official {number}.{row}: {LINE}" for row in range(TEXTS)]
        return len((await client.embeddings.create(model=small.running.model, input=texts)).data)

    async def crowd_and_one_later() -> tuple[openai.RateLimitError, list[int | BaseException], int]:
        base_url = f"{small.running.endpoint}/v1"
        async with openai.AsyncOpenAI(base_url=base_url, api_key=small.key, max_retries=0) as client:
            crowd = [asyncio.create_task(ask(client, number)) for number in range(40)]
            done, _ = await asyncio.wait(crowd, return_when=asyncio.FIRST_EXCEPTION)
            refusal = next(error for task in done if (error := task.exception()) is not None)
            assert isinstance(refusal, openai.RateLimitError)
            retry_after_s = int(refusal.response.headers["retry-after"])
            assert retry_after_s <= LONGEST_WAIT_S
            await asyncio.sleep(retry_after_s)
            later = await ask(client, len(crowd))
            return refusal, await asyncio.gather(*crowd, return_exceptions=True), later

    refusal, crowd, later = asyncio.run(crowd_and_one_later())

    assert (refusal.status_code, refusal.code) == (429, "overloaded")
    assert {type(outcome) for outcome in crowd} == {int, openai.RateLimitError}
    assert later == TEXTS
