"""Adaptive slices: texts of many requests share a hop when replicas are busy, and go out at once when one is free.

Nothing waits for a timer. A slice leaves as soon as there is room for one under way; what arrives meanwhile joins the
next one. Idle, a text waits for nothing; loaded, slices grow until their budget.

Everything here runs in a context of its own, never in that of the request that happened to cause it: Serve ties calls
to the request in whose context they are made, and cancels them when its client leaves. A slice belongs to many.
"""

from __future__ import annotations

import asyncio
import secrets
from contextvars import Context
from dataclasses import replace
from functools import partial

from serve_app.core.admission import Admission, Load
from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.rate import TokenRate
from serve_app.core.replica_count import ReplicaCount
from serve_app.core.retry import RetryBudget
from serve_app.core.types import Priority, Slice, SliceAnswer, TokenIds
from serve_app.dispatch.availability import ReplicaGate
from serve_app.dispatch.lane import Computed, Hop, Lane, Ticket
from serve_app.dispatch.queue_gauges import QueueGauges
from serve_app.dispatch.slice_client import SendSlice
from serve_app.settings import LimitSettings
from serve_app.telemetry.metrics import QUEUE_SECONDS, RETRIES, SLICE_TOKENS, MetricSink

STALE_S = 2.0  # slices under way and none back for so long: does any replica still answer?
NEVER = float("inf")


class SliceDispatcher:
    """Packs waiting texts of one model into slices and hands the answers back to their requests, in order."""

    def __init__(
        self, send: SendSlice, gate: ReplicaGate, limits: LimitSettings, replicas: ReplicaCount, recorder: MetricSink
    ) -> None:
        self._name = secrets.token_hex(4)
        self._send = send
        self._gate = gate
        self._replicas = replicas
        self._limits = limits
        self._admission = Admission(limits.max_queued_tokens * replicas.known, limits.max_wait_s)
        fair_part = self._admission.fair_part
        self._lanes = [Lane(priority, limits, replicas, fair_part) for priority in Priority]  # as they leave
        self._context = Context()
        self._rate = TokenRate()
        self._retries = RetryBudget()
        self._gauges = QueueGauges(recorder, gate.name)
        self._recorder = recorder
        self._is_pump_due = False
        self._next_expiry = NEVER
        self._expiry: asyncio.TimerHandle | None = None
        self._last_landing = 0.0
        self._is_watching = False
        self._suspicion: asyncio.Task[bool] | None = None

    def set_limits(self, limits: LimitSettings) -> None:
        """For the requests that come, and the slices that leave, from now on."""
        self._limits = limits
        for lane in self._lanes:
            lane.set_limits(limits)
        self._fit_admission()

    def is_one_slice(self, texts: list[TokenIds]) -> bool:
        """Whether the texts are few and short enough to travel together."""
        limits = self._limits
        return len(texts) <= limits.slice_texts and sum(map(len, texts)) <= limits.slice_tokens

    def check_room(self, priority: Priority, texts: int, tokens: int, timeout_s: float) -> None:
        """Whether so many texts of so many tokens would be let in now. Raises Overloaded or ReplicaUnavailable."""
        self._gate.check(timeout_s)
        lane = self._lanes[priority]
        if lane.queue.tokens:
            self._admission.check(self._load(lane, texts, tokens), tokens, timeout_s)

    async def embed(self, texts: list[TokenIds], priority: Priority, timeout_s: float) -> Computed:
        """Vectors of the texts: at least one, with at least one token each.

        Raises Overloaded before any work, DeadlineExceeded after `timeout_s`, ReplicaUnavailable, or what the replica
        raised. When the caller is cancelled, so is the work that nobody else waits for.
        """
        loop = asyncio.get_running_loop()
        lane = self._lanes[priority]
        lengths = [len(text) for text in texts]
        tokens = sum(lengths)
        self.check_room(priority, len(texts), tokens, timeout_s)
        now = loop.time()
        ticket = Ticket(texts, lengths, tokens, now, now + timeout_s, loop.create_future(), len(texts))
        lane.add(ticket)
        if ticket.deadline < self._next_expiry:
            self._expire_at(ticket.deadline)
        self._pump_soon()
        try:
            return await ticket.answer
        finally:
            lane.forget(ticket)
            if ticket.missing:
                self._pump_soon()

    def _load(self, lane: Lane, texts: int, tokens: int) -> Load:
        first = self._lanes[: lane.priority]
        return Load(
            queued=lane.queue.tokens,
            queued_first=sum(other.queue.tokens for other in first),
            next_in_turn=lane.queue.tokens_before(texts, tokens),
            under_way=sum(other.tokens_under_way for other in (*first, lane)),
            occupied=sum(other.queue.occupied for other in (*first, lane)),
            tokens_per_s=self._rate.tokens_per_s,
        )

    def _pump_soon(self) -> None:
        """Pump once every request that has arrived in this turn of the event loop is in the queue.

        Requests come off the sockets in bunches; the first of a bunch must not leave alone and make the rest wait.
        """
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        self._is_pump_due = False
        loop = asyncio.get_running_loop()
        now = loop.time()
        for lane in self._lanes:
            while lane.may_leave:
                hop = lane.leave(now)
                hop.task = loop.create_task(self._carry(hop), context=self._context.copy())
                hop.task.add_done_callback(partial(self._land, lane, hop), context=self._context)
                self._recorder.observe(SLICE_TOKENS, hop.slice.tokens, self._gate.name, lane.priority.label)
                self._recorder.observe(
                    QUEUE_SECONDS, now - hop.parts[0][0].queued_at, self._gate.name, lane.priority.label
                )
                self._watch()
        self._gauges.update([lane.queue.tokens for lane in self._lanes], now)

    async def _carry(self, hop: Hop) -> SliceAnswer:
        """Send the slice; once more if its replica died, another one answers, and the budget and the time allow it."""
        self._retries.earn()
        try:
            return await self._send(self._signed(hop.slice))
        except ReplicaUnavailable:
            if not await self._is_any_replica_up() and not self._gate.may_sleep:
                raise
            left_s = hop.deadline - asyncio.get_running_loop().time()
            if left_s <= 0 or not self._retries.spend():
                raise
        self._recorder.inc(RETRIES, 1, self._gate.name)
        return await self._send(replace(hop.slice, timeout_s=left_s))

    def _signed(self, slice_: Slice) -> Slice:
        """With what waits behind it, where the number of replicas follows that."""
        if self._replicas.is_fixed:
            return slice_
        waiting = sum(lane.queue.tokens for lane in self._lanes)
        return replace(slice_, sender=self._name, backlog_tokens=waiting / self._replicas.known)

    def _land(self, lane: Lane, hop: Hop, task: asyncio.Task[SliceAnswer]) -> None:
        lane.land(hop)
        self._last_landing = now = asyncio.get_running_loop().time()
        error = _error_of(task)
        if not task.cancelled():  # cancelled: its texts were not computed, but not for want of speed
            is_busy = any(other.is_busy for other in self._lanes)
            self._rate.landed(hop.slice.tokens if error is None else 0, now, is_busy)
        try:
            if error is None:
                self._take_in(lane, hop, task.result(), now)
            else:
                for ticket, _ in hop.parts:
                    lane.fail(ticket, error)
        finally:  # whatever an answer is like, the others in the queue must not wait for the next request
            self._pump_soon()

    def _take_in(self, lane: Lane, hop: Hop, answer: SliceAnswer, now: float) -> None:
        if self._replicas.answered(answer.replica, hop.left_at, now):
            self._fit_admission()
        if hop.slice.tokens >= self._limits.second_slice_tokens:  # a small step tells how long it takes, not how fast
            self._rate.reported(answer.tokens_per_s * self._replicas.known)
        lane.deliver(hop, answer)

    def _fit_admission(self) -> None:
        """To the number of replicas, which has changed."""
        limits = self._limits
        self._admission = Admission(limits.max_queued_tokens * self._replicas.known, limits.max_wait_s)
        for lane in self._lanes:
            lane.queue.set_fair_part(self._admission.fair_part)

    async def _is_any_replica_up(self) -> bool:
        """Asks the gate. If none is, nobody waits any longer: Serve would park their slices until one comes back.

        Of a model that may sleep, these are what wakes it: all wait but those whose time ends before the next look.
        """
        if await self._gate.suspect():
            return True
        error = self._gate.error()
        for lane in self._lanes:
            if self._gate.may_sleep:
                lane.fail_due(asyncio.get_running_loop().time() + STALE_S, error)
            else:
                lane.fail_all(error)
        return False

    def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            asyncio.get_running_loop().call_later(STALE_S, self._look, context=self._context)

    def _look(self) -> None:
        """While slices are under way: notice when none comes back."""
        self._is_watching = False
        oldest = min((hop.left_at for lane in self._lanes for hop in lane.under_way), default=NEVER)
        if oldest == NEVER:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - max(oldest, self._last_landing) >= STALE_S:
            self._suspicion = loop.create_task(self._is_any_replica_up(), context=self._context.copy())
        self._watch()

    def _expire_at(self, deadline: float) -> None:
        """One timer for all requests: set, it is at the earliest deadline or before it."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._next_expiry = deadline
        self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire, context=self._context)

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        for lane in self._lanes:
            lane.expire(now)
        waiting = (t.deadline for lane in self._lanes for t in lane.tickets if not t.answer.done())
        self._expiry, self._next_expiry = None, NEVER
        earliest = min(waiting, default=NEVER)
        if earliest < NEVER:
            self._expire_at(earliest)


def _error_of(task: asyncio.Task[SliceAnswer]) -> BaseException | None:
    """A hop that somebody cancelled counts as a replica that went away: asking it would raise, and stop the queue."""
    if task.cancelled():
        return ReplicaUnavailable("No replica can answer right now: try again.", retry_after_s=1.0)
    return task.exception()
