"""Steady load while something breaks, and a count of what became of every request."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

CLIENTS, PAUSE_S, TIMEOUT_S, DIMENSIONS = 6, 0.05, 60.0, 32
ATTEMPTS, RETRY_PAUSE_S = 60, 0.5  # of a client with patience
WORDS = ("delivery", "penalty", "invoice", "holiday", "security", "supplier", "travel", "contract", "audit", "leave")
SEED = 20_261_122
ANSWERED = "answered"


@dataclass(slots=True)
class Traffic:
    """What a closed loop of clients has seen; safe to read while it runs."""

    endpoints: Sequence[str]
    model: str
    attempts: int
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # by whose status, or by the client's own error
    retried: Counter[str] = field(default_factory=Counter)  # failures that a further attempt followed
    longest_gap_s: float = 0.0  # between two answers, of whichever clients
    last_answer: float = field(default_factory=time.monotonic)
    is_over: bool = False

    def __str__(self) -> str:
        tried = ", ".join(f"{count} × {kind}" for kind, count in self.retried.items())
        outcome = f"{self.answered} answered, {self.failed() or 'none failed'}, tried again: {tried or 'none'}"
        return f"{outcome}, longest gap {self.longest_gap_s:.1f} s"

    def note_answer(self) -> None:
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self.last_answer)
        self.last_answer = now
        self.answered += 1

    def failed(self) -> str:
        """For an assertion: empty if nothing failed and something was answered."""
        said = [f"{count} × {kind}" for kind, count in self.failures.items()]
        return ", ".join(said if self.answered else [*said, "nothing was answered"])


@contextmanager
def traffic(endpoints: Sequence[str], model: str, *, is_patient: bool = False) -> Iterator[Traffic]:
    """Six clients ask until the block ends, each sending its next request once it has the answer to the last.

    `is_patient`: after a refused or a broken connection, and after a refusal that is not the product's own, they try
    the next endpoint, as they would behind a load balancer. Every request is a text of its own, so that no cache
    answers it; each goes to the next of the endpoints.
    """
    seen = Traffic(endpoints, model, ATTEMPTS if is_patient else 1)
    thread = threading.Thread(target=lambda: asyncio.run(_all_clients(seen)))
    thread.start()
    try:
        yield seen
    finally:
        seen.is_over = True
        thread.join()
        print(seen)


async def _all_clients(seen: Traffic) -> None:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
        await asyncio.gather(*(_client(seen, http, number) for number in range(CLIENTS)))


async def _client(seen: Traffic, http: httpx.AsyncClient, number: int) -> None:
    chance = random.Random(SEED + number)  # noqa: S311  # texts, not secrets
    count = 0
    while not seen.is_over:
        count += 1
        text = f"{number}.{count} " + " ".join(chance.choices(WORDS, k=chance.randint(3, 40)))
        outcome = await _ask(seen, http, count, text)
        if outcome == ANSWERED:
            seen.note_answer()
        else:
            seen.failures[outcome] += 1
        await asyncio.sleep(PAUSE_S)


async def _ask(seen: Traffic, http: httpx.AsyncClient, count: int, text: str) -> str:
    """ANSWERED, or what the last attempt met."""
    body = {"model": seen.model, "input": text, "dimensions": DIMENSIONS}
    outcome = await _attempt(http, seen.endpoints[count % len(seen.endpoints)], body)
    for attempt in range(1, seen.attempts):
        if outcome == ANSWERED or outcome.startswith("the product"):
            break
        seen.retried[outcome] += 1
        await asyncio.sleep(RETRY_PAUSE_S)
        outcome = await _attempt(http, seen.endpoints[(count + attempt) % len(seen.endpoints)], body)
    return outcome


async def _attempt(http: httpx.AsyncClient, endpoint: str, body: dict[str, object]) -> str:
    try:
        answer = await http.post(f"{endpoint}/v1/embeddings", json=body)
    except httpx.TransportError as error:
        return type(error).__name__
    if answer.status_code == 200 and len(answer.json()["data"][0]["embedding"]) == DIMENSIONS:
        return ANSWERED
    is_ours = answer.headers.get("content-type", "").startswith("application/json")
    return f"{'the product' if is_ours else 'a proxy'}'s {answer.status_code}"
