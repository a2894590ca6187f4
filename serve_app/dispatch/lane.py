"""One class of traffic in front of one model's replicas: what waits, what is under way, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from serve_app.core.errors import DeadlineExceeded, EngineFailed, ReplicaUnavailable
from serve_app.core.fair_queue import FairQueue, Queued
from serve_app.core.replica_count import ReplicaCount
from serve_app.core.types import Priority, Slice, SliceAnswer, Vectors
from serve_app.settings import LimitSettings

REPLACED_RETRY_S = 5.0  # while replicas of two versions answer
FAULTY_VECTOR = (
    "The engine computed a vector of the wrong size, not finite or not of unit length for an input of this request: "
    "leave that input out; to find it, send the inputs one by one."
)
NEARLY_AS_LARGE = 0.75  # two slices take turns at the engine; of very uneven ones, the small one is a wasted turn


@dataclass(frozen=True, slots=True)
class Computed:
    """Vectors of one request: (texts, native dimensions), in order.

    `fingerprint` says what computed them; None means replicas of different versions did, whose vectors do not compare.
    """

    vectors: Vectors
    fingerprint: str | None


@dataclass(slots=True, eq=False)
class Ticket(Queued):
    """One request on its way. Times are on the event loop's clock."""

    queued_at: float
    deadline: float
    answer: asyncio.Future[Computed]
    missing: int  # rows not back yet
    vectors: Vectors | None = field(default=None, init=False)
    fingerprint: str | None = field(default=None, init=False)

    def fits(self, vectors: Vectors) -> bool:
        """Whether they are as wide as the rows that are back; while replicas are replaced they need not be."""
        return self.vectors is None or self.vectors.shape[1] == vectors.shape[1]

    def fill(self, rows: range, vectors: Vectors, fingerprint: str) -> None:
        """Some rows came back, and they fit; the last ones complete the answer."""
        if self.answer.done():
            return
        if self.missing == len(self.texts):
            self.fingerprint = fingerprint
        elif fingerprint != self.fingerprint:
            self.fingerprint = None
        self.missing -= len(rows)
        if len(rows) == len(self.texts):
            self.vectors = vectors
        else:
            if self.vectors is None:
                self.vectors = np.empty((len(self.texts), vectors.shape[1]), dtype=np.float32)
            self.vectors[rows.start : rows.stop] = vectors
        if not self.missing:
            self.answer.set_result(Computed(self.vectors, self.fingerprint))


@dataclass(slots=True, eq=False)
class Hop:
    """One slice under way and the rows of the tickets in it, in the slice's order."""

    slice: Slice
    parts: list[tuple[Ticket, range]]
    left_at: float
    deadline: float  # of its most patient ticket
    task: asyncio.Task[SliceAnswer] | None = None

    @property
    def is_orphaned(self) -> bool:
        """Whether nobody waits for any of its rows."""
        return all(ticket.answer.done() for ticket, _ in self.parts)


class Lane:
    """Two lanes of a model share nothing, so bulk never takes a place from interactive slices."""

    def __init__(self, priority: Priority, limits: LimitSettings, replicas: ReplicaCount, fair_part: int) -> None:
        self.priority = priority
        self.queue: FairQueue[Ticket] = FairQueue(fair_part)
        self.tickets: set[Ticket] = set()
        self.under_way: dict[Hop, None] = {}  # oldest first
        self.tokens_under_way = 0
        self._replicas = replicas
        self.set_limits(limits)

    def set_limits(self, limits: LimitSettings) -> None:
        """For the slices that leave from now on."""
        self._slices_per_replica = limits.slices_per_replica
        self._worthwhile_tokens = limits.second_slice_tokens
        self._light_slice_tokens = min(limits.light_slice_tokens or self._worthwhile_tokens, self._worthwhile_tokens)
        self._slice_tokens = limits.slice_tokens
        self._slice_texts = limits.slice_texts

    @property
    def is_busy(self) -> bool:
        """Whether so much waits that it is worth a slice beside the one a replica computes."""
        return self.queue.tokens >= self._worthwhile_tokens

    @property
    def may_leave(self) -> bool:
        """One slice a replica leaves at once. Another beside it only if it is worth a step of its own: two small
        steps cost more than one, so few texts wait for the slice under way and then leave together.

        An engine that computes few tokens in little time would wait meanwhile for the Router to answer one slice and
        read the next. It gets another of `light_slice_tokens` if that is about as large as the one it computes.
        """
        if len(self.under_way) < self._replicas.known:
            return self.queue.tokens > 0
        return len(self.under_way) < self._places and self.queue.tokens >= self._second_slice_tokens

    @property
    def _second_slice_tokens(self) -> float:
        alike = NEARLY_AS_LARGE * self.tokens_under_way / len(self.under_way)
        return min(self._worthwhile_tokens, max(self._light_slice_tokens, alike))

    @property
    def _places(self) -> int:
        return self._slices_per_replica * self._replicas.known

    def add(self, ticket: Ticket) -> None:
        self.tickets.add(ticket)
        self.queue.add(ticket)

    def leave(self, now: float) -> Hop:
        """The next slice; something must wait."""
        parts = self.queue.take(self._share(), self._slice_texts)
        texts = [text for ticket, rows in parts for text in ticket.texts[rows.start : rows.stop]]
        deadline = max(ticket.deadline for ticket, _ in parts)
        hop = Hop(Slice.of(texts, self.priority, deadline - now), parts, now, deadline)
        self.under_way[hop] = None
        self.tokens_under_way += hop.slice.tokens
        return hop

    def _share(self) -> int:
        """Tokens of the next slice: what waits is shared out over the free places, in slices worth a step.

        One slice of everything would leave the engine idle while its answers are written and the next requests are
        read, and the Router idle while it is computed.
        """
        free = self._places - len(self.under_way)
        return min(self._slice_tokens, max(self._light_slice_tokens, -(-self.queue.tokens // free)))

    def land(self, hop: Hop) -> None:
        """The hop is over, however it ended."""
        del self.under_way[hop]
        self.tokens_under_way -= hop.slice.tokens

    def deliver(self, hop: Hop, answer: SliceAnswer) -> None:
        """Each request its rows. One that holds a faulty row fails, the others of the slice do not."""
        start = 0
        for ticket, rows in hop.parts:
            stop = start + len(rows)
            vectors = answer.vectors[start:stop]
            if answer.faulty and not answer.faulty.isdisjoint(range(start, stop)):
                self.fail(ticket, EngineFailed(FAULTY_VECTOR))
            elif ticket.fits(vectors):
                ticket.fill(rows, vectors, answer.fingerprint)
            else:
                message = "Replicas of two versions of the model answer: it is being replaced, try again soon."
                self.fail(ticket, ReplicaUnavailable(message, retry_after_s=REPLACED_RETRY_S))
            start = stop

    def forget(self, ticket: Ticket) -> None:
        """Its caller has gone: what has not left never will, and a slice that nobody else waits for is cancelled."""
        self.tickets.discard(ticket)
        if ticket.missing:
            self.queue.discard(ticket)
            self._cancel_orphans()

    def fail(self, ticket: Ticket, error: BaseException) -> None:
        """The caller gets the error; rows that have not left leave the queue at once."""
        self.queue.discard(ticket)
        if not ticket.answer.done():
            ticket.answer.set_exception(error)

    def fail_all(self, error: BaseException) -> None:
        for ticket in self.tickets:
            self.fail(ticket, error)
        self._cancel_orphans()

    def fail_due(self, by: float, error: BaseException) -> None:
        """Fail every ticket whose deadline is not after `by`."""
        for ticket in self.tickets:
            if ticket.deadline <= by:
                self.fail(ticket, error)
        self._cancel_orphans()

    def expire(self, now: float) -> None:
        """Fail every ticket whose deadline has passed."""
        for ticket in self.tickets:
            if ticket.deadline <= now:
                limit_s = ticket.deadline - ticket.queued_at
                message = f"The vectors were not ready within {limit_s:g} s: send fewer or shorter texts, or try later."
                self.fail(ticket, DeadlineExceeded(message))

    def _cancel_orphans(self) -> None:
        for hop in self.under_way:
            if hop.task is not None and hop.is_orphaned:
                hop.task.cancel()
