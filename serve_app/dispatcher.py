"""Adaptive slices: texts of many requests share a hop when replicas are busy, and go out at once when one is free.

There is no timer. A slice leaves as soon as there is room for one under way; what arrives meanwhile joins the next one.
Idle, a text waits for nothing; loaded, slices grow until their budget.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.packing import pack
from serve_app.core.types import Priority, Slice, TokenIds, Vectors
from serve_app.settings import LimitSettings
from serve_app.slice_client import SendSlice

HOP_GRACE_S = 1.0  # the replica answers late work itself; a replica that cannot even do that must not keep the place


@dataclass(slots=True, eq=False)
class _Ticket:
    """One request's texts on their way: rows `sent` and later still wait in the queue."""

    texts: list[TokenIds]
    deadline: float  # on the event loop's clock
    answer: asyncio.Future[Vectors]
    vectors: Vectors | None = None
    sent: int = 0
    missing: int = 0


_Part = tuple[_Ticket, range]  # some rows of one ticket, travelling in one slice


class SliceDispatcher:
    """Packs waiting texts of one model into slices and hands the answers back to their requests, in order."""

    def __init__(self, send: SendSlice, limits: LimitSettings, replicas: int) -> None:
        self._send = send
        self._slice_tokens = limits.slice_tokens
        self._slice_texts = limits.slice_texts
        self._replicas = replicas
        self._slices_in_flight = limits.slices_per_replica * replicas
        self._worthwhile_tokens = limits.second_slice_tokens
        self._queue: deque[_Ticket] = deque()
        self._is_pump_due = False
        self._under_way: set[asyncio.Future[Vectors]] = set()

    async def embed(self, texts: list[TokenIds], timeout_s: float) -> Vectors:
        """Vectors of the texts: (texts, native dimensions). Raises what the replica raised, or TimeoutError."""
        loop = asyncio.get_running_loop()
        ticket = _Ticket(texts, loop.time() + timeout_s, loop.create_future(), missing=len(texts))
        self._queue.append(ticket)
        self._pump_soon()
        try:
            async with asyncio.timeout(timeout_s):
                return await ticket.answer
        finally:
            ticket.answer.cancel()

    def _pump_soon(self) -> None:
        """Pump once every request that has arrived in this turn of the event loop is in the queue.

        Requests come off the sockets in bunches; the first of a bunch must not leave alone and make the rest wait.
        """
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._is_pump_due = False
        loop = asyncio.get_running_loop()
        while self._queue and self._may_leave():
            parts = self._next_parts()
            if not parts:
                continue
            texts = [text for ticket, rows in parts for text in ticket.texts[rows.start : rows.stop]]
            timeout_s = max(ticket.deadline for ticket, _ in parts) - loop.time()
            slice_ = Slice.of(texts, Priority.INTERACTIVE, timeout_s)
            hop = asyncio.ensure_future(asyncio.wait_for(self._send(slice_), timeout_s + HOP_GRACE_S))
            self._under_way.add(hop)
            hop.add_done_callback(partial(self._landed, parts))

    def _may_leave(self) -> bool:
        """One slice a replica leaves at once. Another beside it only if it is worth a step of its own: two small
        steps cost more than one, so few texts wait for the slice under way and then leave together.
        """
        if len(self._under_way) < self._replicas:
            return True
        return len(self._under_way) < self._slices_in_flight and self._has_waiting(self._worthwhile_tokens)

    def _has_waiting(self, tokens: int) -> bool:
        """Whether at least so many tokens wait."""
        for ticket in self._queue:
            for text in islice(ticket.texts, ticket.sent, None):
                tokens -= len(text)
                if tokens <= 0:
                    return True
        return False

    def _landed(self, parts: list[_Part], hop: asyncio.Future[Vectors]) -> None:
        self._under_way.discard(hop)
        error = _error_of(hop)
        if error is not None:
            for ticket, _ in parts:
                if not ticket.answer.done():
                    ticket.answer.set_exception(error)
        else:
            vectors, start = hop.result(), 0
            for ticket, rows in parts:
                _fill(ticket, rows, vectors[start : start + len(rows)])
                start += len(rows)
        self._pump_soon()

    def _next_parts(self) -> list[_Part]:
        """The rows of the next slice, as ranges of tickets; empty if nobody waits for them any more."""
        parts: list[_Part] = []
        tokens, rows = self._slice_tokens, self._slice_texts
        while self._queue and rows > 0:
            ticket = self._queue[0]
            if ticket.answer.done():
                self._queue.popleft()
                continue
            lengths = [len(text) for text in ticket.texts[ticket.sent : ticket.sent + rows]]
            taken = next(pack(lengths, tokens, rows))
            used = sum(lengths[: taken.stop])
            if parts and used > tokens:
                break
            parts.append((ticket, range(ticket.sent, ticket.sent + taken.stop)))
            ticket.sent += taken.stop
            tokens, rows = tokens - used, rows - taken.stop
            if ticket.sent < len(ticket.texts):
                break
            self._queue.popleft()
        return parts


def _error_of(hop: asyncio.Future[Vectors]) -> BaseException | None:
    """A hop that somebody cancelled counts as a replica that went away: asking it would raise, and stop the queue."""
    if hop.cancelled():
        return ReplicaUnavailable("No replica can answer right now: try again.", retry_after_s=1.0)
    return hop.exception()


def _fill(ticket: _Ticket, rows: range, vectors: Vectors) -> None:
    if ticket.answer.done():
        return
    ticket.missing -= len(rows)
    if len(rows) == len(ticket.texts):
        ticket.answer.set_result(vectors)
        return
    if ticket.vectors is None:
        ticket.vectors = np.empty((len(ticket.texts), vectors.shape[1]), dtype=np.float32)
    ticket.vectors[rows.start : rows.stop] = vectors
    if ticket.missing == 0:
        ticket.answer.set_result(ticket.vectors)
