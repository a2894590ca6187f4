"""A lean HTTP/1.1 client on asyncio: on a small machine the client must leave the cores to what is measured."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeVar
from urllib.parse import urlsplit

import uvloop

from benchmarks.load import REQUEST_TIMEOUT_S, LoadFailed, Target

Result = TypeVar("Result")
NO_ANSWER = 0  # stands for the status of a request whose connection broke
MAX_CONNECTIONS = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry_after` is the header as it came; empty if it did not come."""

    status: int
    retry_after: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a load: when it was due and how long its answer took from then on, in seconds."""

    due_s: float
    latency_s: float
    status: int
    retry_after: str
    body_bytes: int

    @property
    def ended_s(self) -> float:
        return self.due_s + self.latency_s


class Connection:
    """One keep-alive connection that carries one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer = reader, writer
        self._head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()

    @classmethod
    async def open(cls, target: Target) -> Self:
        address = urlsplit(target.endpoint)
        return cls(*await asyncio.open_connection(address.hostname, address.port), address.netloc)

    async def post(self, body: bytes) -> Answer:
        """Raises OSError or EOFError if the connection breaks, TimeoutError, or LoadFailed for no HTTP answer."""
        self._writer.write(self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            status, headers = parse_head(head)
            if "content-length" not in headers:
                raise LoadFailed(f"An answer with status {status} has no Content-Length, which this client needs.")
            content = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(status, headers.get("retry-after", ""), content)

    def close(self) -> None:
        self._writer.close()


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """(status, headers with names in lower case). Raises LoadFailed for what is not the head of an HTTP answer."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise LoadFailed("The server answered something that is not HTTP/1.1.")
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def run(load: Coroutine[object, object, Result]) -> Result:
    """The result of a load, on uvloop."""
    return uvloop.run(load)


async def closed_loop(
    target: Target, bodies: Iterator[bytes], connections: int, goes_on: Callable[[], bool], pause_s: float = 0.0
) -> list[Sample]:
    """Every connection sends its next request `pause_s` after the last answer, while `goes_on` and bodies are left.

    Raises LoadFailed for an answer that is not 200, and what `Connection.post` raises.
    """
    clock = time.perf_counter  # the time of uvloop has steps of a millisecond
    started = clock()

    async def work() -> list[Sample]:
        connection, samples = await Connection.open(target), []
        try:
            while goes_on() and (body := next(bodies, None)) is not None:
                due = clock()
                answer = await connection.post(body)
                if answer.status != 200:
                    raise LoadFailed(f"{target.endpoint} answered {answer.status} in a closed loop.")
                samples.append(_sample(due - started, clock() - due, answer))
                if pause_s:
                    await asyncio.sleep(pause_s)
        finally:
            connection.close()
        return samples

    return [sample for samples in await asyncio.gather(*(work() for _ in range(connections))) for sample in samples]


async def open_loop(target: Target, bodies: Iterator[bytes], rate: float, seconds: float, seed: int) -> list[Sample]:
    """Requests are sent when they are due, `rate` a second with exponential gaps, however slow the answers are.

    A request whose connection broke or stayed silent is a sample with the status NO_ANSWER.
    Raises LoadFailed if more than MAX_CONNECTIONS would be under way.
    """
    clock = time.perf_counter  # the time of uvloop has steps of a millisecond
    idle: list[Connection] = []
    samples: list[Sample] = []
    started = clock()

    async def send(due: float, body: bytes) -> None:
        answer = Answer(NO_ANSWER, "", b"")
        with suppress(OSError, EOFError, TimeoutError):
            connection = idle.pop() if idle else await Connection.open(target)
            try:
                answer = await connection.post(body)
            finally:
                if answer.status:
                    idle.append(connection)
                else:
                    connection.close()
        samples.append(_sample(due, clock() - started - due, answer))

    tasks: set[asyncio.Task[None]] = set()
    for due in arrivals(rate, seconds, seed):
        await asyncio.sleep(max(0.0, started + due - clock()))
        if len(tasks) >= MAX_CONNECTIONS:
            raise LoadFailed(f"{MAX_CONNECTIONS} requests are under way: the server refuses too late or not at all.")
        task = asyncio.create_task(send(due, next(bodies)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return samples


def arrivals(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """When requests are due, in seconds from the start: a Poisson process, the same for the same seed."""
    random_numbers = random.Random(seed)  # noqa: S311  # a load, not a secret
    due = random_numbers.expovariate(rate)
    while due < seconds:
        yield due
        due += random_numbers.expovariate(rate)


def _sample(due_s: float, latency_s: float, answer: Answer) -> Sample:
    return Sample(due_s, latency_s, answer.status, answer.retry_after, len(answer.body))
