"""The one thread that owns an engine: slices in, finished slices out, once per step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.core.engine import EmbeddingEngine, StepBounds
from serve_app.core.errors import DeadlineExceeded, ReplicaUnavailable
from serve_app.core.inbox import Feed, Job
from serve_app.core.scheduler import Scheduler
from serve_app.core.step_clock import StepClock
from serve_app.core.step_results import Ledger, Outcome, StepReport, StepRows
from serve_app.core.types import Priority, Slice


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    max_queued_tokens: int  # of each class
    stuck_after_s: float  # of an engine that works without computing anything


def ignore_the_end() -> None:
    """For owners that ask `is_alive`."""


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
        self._stuck_after_s = limits.stuck_after_s
        self._deliver = deliver
        self._report = report
        self._crashed = ignore_the_end
        self._wake = threading.Condition()
        self._scheduler = Scheduler(feed, limits.max_queued_tokens)  # `_wake` guards it
        self._clock = StepClock(engine.step_tokens)
        self._is_stopping = False
        self.done = Ledger()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self, crashed: Callable[[], None] = ignore_the_end) -> None:
        """`crashed` is called on the thread if it ends without having been told to, after the last jobs' delivery."""
        self._crashed = crashed
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
        """The engine works for longer than it may without computing anything. `now` is on the monotonic clock."""
        return self._clock.is_stuck(now, self._stuck_after_s)

    @property
    def tokens_per_s(self) -> float:
        """While the engine computes, lately; 0.0 until it has."""
        return self._clock.tokens_per_s

    @property
    def queued_tokens(self) -> int:
        """Tokens waiting or being computed."""
        return sum(self.queued_tokens_of(priority) for priority in Priority)

    def queued_tokens_of(self, priority: Priority) -> int:
        with self._wake:
            return self._scheduler.queued_tokens_of(priority)

    def set_max_queued_tokens(self, tokens: int) -> None:
        """Of each class, for the slices that come from now on."""
        with self._wake:
            self._scheduler.max_queued_tokens = tokens

    def submit(self, slice_: Slice) -> Job:
        """Queue a slice. Raises Overloaded when its class is full, ReplicaUnavailable when the engine is gone."""
        job = Job.of(slice_, self._engine.dimensions, time.monotonic())
        with self._wake:
            if not self.is_serving:
                raise engine_is_gone()
            self._scheduler.put(job, self.tokens_per_s)
            self._wake.notify()
        return job

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more: its place is freed before the next step."""
        with self._wake:
            self._scheduler.abandon(job)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while bounds := self._admit():
                self._step(bounds)
        finally:
            is_expected = self._is_stopping
            try:
                self._fail_everything()
            finally:
                try:
                    if not is_expected:
                        self._crashed()  # first: closing a broken engine may take for ever
                finally:
                    self._engine.close()

    def _admit(self) -> StepBounds | None:
        """Hand texts to the engine; blocks while there is nothing at all to do. None when it is time to stop."""
        with self._wake:
            dropped = self._scheduler.forget_abandoned()
            while not (self._is_stopping or dropped) and self._scheduler.is_idle:
                self._wake.wait()
            if self._is_stopping:
                return None
            turn = self._scheduler.next_turn(dropped, time.monotonic())
        if turn.dropped:
            self._engine.drop(turn.dropped)
        self._expire(turn.late)
        for key in turn.given:
            if text := self._scheduler.held(key):  # gone if somebody gave up meanwhile
                self._engine.add(key, text.ids, text.priority)
        return turn.bounds

    def _expire(self, late: Sequence[Job]) -> None:
        """Answer late jobs; the texts of theirs that the engine holds already are dropped in the next turn."""
        if not late:
            return
        message = "The deadline passed before all texts were computed."
        self._deliver_all([(job, DeadlineExceeded(message)) for job in late])
        for job in late:
            self.abandon(job)

    def _step(self, bounds: StepBounds) -> None:
        if not self._scheduler.holds_texts:
            return
        began = time.monotonic()
        self._clock.begin(began)
        step = self._engine.step(bounds)
        now = time.monotonic()
        rows = StepRows()
        with self._wake:
            self._scheduler.saw_step(step, now - began)
            for key, vector in step.finished:
                if text := self._scheduler.finish(key, now):
                    rows.add(text, vector)
        self._clock.end(now, step.tokens)
        outcomes, done = self.done.close_step(rows, step.tokens, now - began)
        self._deliver_all(outcomes)
        self._report(done)

    def _deliver_all(self, outcomes: Sequence[Outcome]) -> None:
        wanted = [(job, error) for job, error in outcomes if not job.is_abandoned]
        if wanted:
            self._deliver(wanted)

    def _fail_everything(self) -> None:
        with self._wake:
            self._is_stopping = True
            jobs = self._scheduler.drain()
            outcomes: list[Outcome] = [(job, engine_is_gone()) for job in jobs if not job.is_abandoned]
            for job in jobs:
                job.is_abandoned = True  # should the engine come back to it after all
        if outcomes:
            self._deliver(outcomes)


def engine_is_gone() -> ReplicaUnavailable:
    return ReplicaUnavailable("The engine of this replica has stopped; the replica is being replaced.", None, 1.0)
