"""The asyncio client of the scenarios against a small server: what it counts, and what it refuses to count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import repeat

import pytest

from benchmarks.http_client import NO_ANSWER, Sample, closed_loop, open_loop, run
from benchmarks.load import LoadFailed, Target

Reply = Callable[[int], bytes]  # number of the request, from 0 on → bytes to answer; no bytes: hang up
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
FULL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
BODY = b'{"input": "x"}'


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[Target]:
    served = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while await reader.read(65_536):
            answer = reply(served)
            served += 1
            if not answer:
                break
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "tiny")


def closed(reply: Reply, bodies: Iterator[bytes], connections: int = 1) -> list[Sample]:
    async def load() -> list[Sample]:
        async with serving(reply) as target:
            return await closed_loop(target, bodies, connections, lambda: True)

    return run(load())


def opened(reply: Reply, rate: float, seconds: float) -> list[Sample]:
    async def load() -> list[Sample]:
        async with serving(reply) as target:
            return await open_loop(target, repeat(BODY), rate, seconds, seed=1)

    return run(load())


def test_a_closed_loop_sends_every_body_once() -> None:
    samples = closed(lambda _: GOOD, iter([BODY] * 20), connections=3)
    assert [(sample.status, sample.body_bytes) for sample in samples] == [(200, 4)] * 20


def test_a_closed_loop_ends_at_an_answer_that_is_not_200() -> None:
    with pytest.raises(LoadFailed, match="429"):
        closed(lambda number: FULL if number == 2 else GOOD, repeat(BODY))


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(LoadFailed, match="Content-Length"):
        closed(lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", repeat(BODY))


def test_an_open_loop_keeps_refusals_with_their_time_to_wait_and_broken_connections_apart() -> None:
    samples = opened(lambda number: (GOOD, FULL, b"")[number % 3], rate=300, seconds=0.3)
    kinds = {(sample.status, sample.retry_after) for sample in samples}
    assert kinds == {(200, ""), (429, "1"), (NO_ANSWER, "")}


def test_an_open_loop_sends_what_is_due_whatever_the_answers() -> None:
    answered = opened(lambda _: GOOD, rate=300, seconds=0.3)
    hung_up = opened(lambda _: b"", rate=300, seconds=0.3)
    assert sorted(sample.due_s for sample in hung_up) == sorted(sample.due_s for sample in answered)
