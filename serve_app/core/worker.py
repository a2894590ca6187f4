"""The one thread that owns an engine: inbox in, finished slices out, once per step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.core.engine import EmbeddingEngine
from serve_app.core.errors import DeadlineExceeded, EngineFailed, Overloaded, ReplicaUnavailable, RequestError
from serve_app.core.in_engine import HeldText, InEngine
from serve_app.core.inbox import Feed, Inbox, Job
from serve_app.core.step_clock import StepClock
from serve_app.core.types import Priority, Slice, Vectors

Outcome = tuple[Job, RequestError | None]
NORM_TOLERANCE = 1e-2  # bfloat16 rounding stays well inside; an unnormalised or broken vector does not


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step finished. `faults` are texts of slices that failed the checks: their vectors were not delivered."""

    texts: dict[Priority, int]
    tokens: dict[Priority, int]
    faults: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    max_queued_tokens: int  # of each class
    stuck_after_s: float  # of an engine that works without finishing a text


class EngineWorker:
    """Runs an EmbeddingEngine on a thread of its own.

    `deliver` is called at most once per step with every job that came to an end in it, and `report` after every step;
    both on that thread, except that `give_up` delivers on the thread it is called from.
    """

    def __init__(
        self,
        engine: EmbeddingEngine,
        feed: Feed,
        limits: WorkerLimits,
        deliver: Callable[[Sequence[Outcome]], None],
        report: Callable[[StepReport], None],
    ) -> None:
        self._engine = engine
        self._feed = feed
        self._limits = limits
        self._deliver = deliver
        self._report = report
        self._inbox = Inbox()
        self._wake = threading.Condition()
        self._in_engine = InEngine()
        self._clock = StepClock(engine.step_tokens)
        self._last_interactive = float("-inf")
        self._has_abandoned = False
        self._is_stopping = False
        self.faults_in_row = 0
        self.steps = 0
        self.texts_done = dict.fromkeys(Priority, 0)
        self.tokens_done = dict.fromkeys(Priority, 0)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the step under way, fail what waits, and close the engine."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join()

    def give_up(self) -> None:
        """Fail what waits and what the engine holds, without waiting for the engine; nothing is accepted any more."""
        self._fail_everything()
        with self._wake:
            self._wake.notify()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_serving(self) -> bool:
        return self._thread.is_alive() and not self._is_stopping

    def is_stuck(self, now: float) -> bool:
        """The engine works for longer than it may without finishing a text. `now` is on the monotonic clock."""
        return self._clock.is_stuck(now, self._limits.stuck_after_s)

    @property
    def tokens_per_s(self) -> float:
        """While the engine computes, lately; 0.0 until it has finished a text."""
        return self._clock.tokens_per_s

    @property
    def queued_tokens(self) -> int:
        """Tokens waiting or being computed."""
        return sum(self.queued_tokens_of(priority) for priority in Priority)

    def queued_tokens_of(self, priority: Priority) -> int:
        with self._wake:
            return self._inbox.waiting_tokens(priority) + self._in_engine.tokens[priority]

    def submit(self, slice_: Slice) -> Job:
        """Queue a slice. Raises Overloaded when its class is full, ReplicaUnavailable when the engine is gone."""
        job = Job.of(slice_, self._engine.dimensions, time.monotonic())
        with self._wake:
            if not self.is_serving:
                raise _engine_is_gone()
            self._check_room(slice_)
            self._inbox.put(job)
            self._wake.notify()
        return job

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more: its place is freed before the next step."""
        with self._wake:
            self._inbox.abandon(job)
            self._has_abandoned = True
            self._wake.notify()

    def _check_room(self, slice_: Slice) -> None:
        priority = slice_.priority
        waiting = self._inbox.waiting_tokens(priority)
        if not waiting or waiting + slice_.tokens <= self._limits.max_queued_tokens:
            return
        first = sum(self._inbox.waiting_tokens(other) for other in Priority if other <= priority)
        raise Overloaded(
            f"{waiting} {priority.label} tokens are waiting and the limit is {self._limits.max_queued_tokens}: "
            "try again later.",
            retry_after_s=first / self.tokens_per_s if self.tokens_per_s else 1.0,
        )

    def _run(self) -> None:
        try:
            while self._admit():
                self._step()
        finally:
            try:
                self._fail_everything()
            finally:
                self._engine.close()

    def _admit(self) -> bool:
        """Hand texts to the engine; blocks while there is nothing at all to do. False when it is time to stop."""
        with self._wake:
            dropped = self._forget_abandoned()
            while not (self._is_stopping or self._in_engine or dropped) and self._inbox.is_empty():
                self._wake.wait()
            if self._is_stopping:
                return False
            now = time.monotonic()
            taken, late = self._take(now)
            stale = self._in_engine.promote_stale(self._feed, now)
            # Every text is on record before the engine sees the first: whatever `add` raises, no job is forgotten.
            keys = [self._in_engine.add(text, now) for text in [*stale.values(), *taken]]
        if dropped or stale:
            self._engine.drop([*dropped, *stale])
        self._expire(late)
        for key in keys:
            if text := self._in_engine.get(key):  # gone if somebody gave up meanwhile
                self._engine.add(key, text.ids, text.priority)
        return True

    def _take(self, now: float) -> tuple[list[HeldText], list[Job]]:
        """What the engine gets next, and the jobs that came too late for it."""
        feed, held, in_engine = self._feed, self._in_engine.held_tokens, self._in_engine.tokens
        room = feed.interactive_tokens - in_engine[Priority.INTERACTIVE]
        taken, late = self._inbox.take(Priority.INTERACTIVE, room, now, held, feed.capacity_tokens)
        if taken or in_engine[Priority.INTERACTIVE]:
            self._last_interactive = now
        tokens = sum(job.length(row) for job, row in taken)
        given = [HeldText(job, row, Priority.INTERACTIVE) for job, row in taken]
        if tokens < room and self._inbox.waiting_tokens(Priority.INTERACTIVE):
            return given, late  # a long interactive text waits for memory: bulk must not take it away again and again
        is_present = now - self._last_interactive < feed.linger_s
        room = feed.bulk_tokens(is_present) - in_engine[Priority.BULK]
        bulk, bulk_late = self._inbox.take(Priority.BULK, room, now, held + tokens, feed.capacity_tokens)
        given += [HeldText(job, row, self._bulk_priority(job, now, is_present)) for job, row in bulk]
        return given, late + bulk_late

    def _bulk_priority(self, job: Job, now: float, is_interactive_present: bool) -> Priority:
        is_aged = is_interactive_present and now - job.submitted_at > self._feed.patience_s
        return Priority.INTERACTIVE if is_aged else Priority.BULK

    def _expire(self, late: Sequence[Job]) -> None:
        """Answer late jobs; the texts of theirs that the engine holds already are dropped in the next turn."""
        if not late:
            return
        message = "The deadline passed before all texts were computed."
        self._deliver_all([(job, DeadlineExceeded(message)) for job in late])
        for job in late:
            self.abandon(job)

    def _step(self) -> None:
        if not self._in_engine:
            return
        began = time.monotonic()
        self._clock.begin(began)
        finished = self._engine.step()
        now = time.monotonic()
        texts, tokens = dict.fromkeys(Priority, 0), dict.fromkeys(Priority, 0)
        ended: list[Job] = []
        with self._wake:
            for key, vector in finished:
                text = self._in_engine.finish(key, now)
                if text is None:
                    continue
                job, priority = text.job, text.job.slice.priority
                texts[priority] += 1
                tokens[priority] += text.tokens
                job.vectors[text.row] = vector if vector.shape == job.vectors.shape[1:] else np.nan  # found by _fault
                job.missing -= 1
                if job.missing == 0:
                    ended.append(job)
        self._clock.end(now, sum(tokens.values()))
        outcomes: list[Outcome] = [(job, _fault(job)) for job in ended]
        faults = sum(job.slice.texts for job, error in outcomes if error)
        done = StepReport(texts, tokens, faults, now - began)
        self._count(done, outcomes)
        self._deliver_all(outcomes)
        self._report(done)

    def _count(self, done: StepReport, outcomes: Sequence[Outcome]) -> None:
        self.steps += 1
        for priority in Priority:
            self.texts_done[priority] += done.texts[priority]
            self.tokens_done[priority] += done.tokens[priority]
        for _, error in outcomes:
            self.faults_in_row = self.faults_in_row + 1 if error else 0

    def _forget_abandoned(self) -> list[int]:
        if not self._has_abandoned:
            return []
        self._has_abandoned = False
        return self._in_engine.forget_abandoned()

    def _deliver_all(self, outcomes: Sequence[Outcome]) -> None:
        wanted = [(job, error) for job, error in outcomes if not job.is_abandoned]
        if wanted:
            self._deliver(wanted)

    def _fail_everything(self) -> None:
        with self._wake:
            self._is_stopping = True
            jobs = dict.fromkeys([*self._inbox.drain(), *self._in_engine.drain()])
            outcomes: list[Outcome] = [(job, _engine_is_gone()) for job in jobs if not job.is_abandoned]
            for job in jobs:
                job.is_abandoned = True  # should the engine come back to it after all
        if outcomes:
            self._deliver(outcomes)


def _engine_is_gone() -> ReplicaUnavailable:
    return ReplicaUnavailable("The engine of this replica has stopped; the replica is being replaced.", None, 1.0)


def _fault(job: Job) -> EngineFailed | None:
    """Why a finished job must not be answered."""
    if are_unit_norm(job.vectors):
        return None
    return EngineFailed("The engine computed a vector of the wrong size, not finite, or not of unit length.")


def are_unit_norm(vectors: Vectors) -> bool:
    """Every row of (n, D) is finite and of length 1, within what bfloat16 may round."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return bool(np.all(np.abs(norms - 1.0) < NORM_TOLERANCE))  # NaN compares False
