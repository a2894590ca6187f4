"""The one thread that owns an engine: inbox in, finished slices out, once per step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from serve_app.core.engine import EmbeddingEngine
from serve_app.core.errors import DeadlineExceeded, EngineFailed, Overloaded, ReplicaUnavailable, RequestError
from serve_app.core.inbox import Feed, Inbox, Job
from serve_app.core.types import Priority, Slice, Vectors

Outcome = tuple[Job, RequestError | None]
NORM_TOLERANCE = 1e-2  # bfloat16 rounding stays well inside; an unnormalised or broken vector does not


class EngineWorker:
    """Runs an EmbeddingEngine on a thread of its own.

    `deliver` is called on that thread, at most once per step, with every job that came to an end in it.
    """

    def __init__(
        self, engine: EmbeddingEngine, feed: Feed, max_queued_tokens: int, deliver: Callable[[Sequence[Outcome]], None]
    ) -> None:
        self._engine = engine
        self._feed = feed
        self._max_queued_tokens = max_queued_tokens
        self._deliver = deliver
        self._inbox = Inbox()
        self._wake = threading.Condition()
        self._active: dict[int, tuple[Job, int]] = {}
        self._in_engine = dict.fromkeys(Priority, 0)
        self._next_key = 0
        self._last_interactive = float("-inf")
        self._tokens_per_s = 0.0
        self._is_stopping = False
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

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def queued_tokens(self) -> int:
        """Tokens waiting or being computed."""
        with self._wake:
            return self._inbox.waiting_tokens() + sum(self._in_engine.values())

    def submit(self, slice_: Slice) -> Job:
        """Queue a slice. Raises Overloaded when the inbox is full, ReplicaUnavailable when the engine is gone."""
        job = Job.of(slice_, self._engine.dimensions, time.monotonic())
        with self._wake:
            if not self._thread.is_alive() or self._is_stopping:
                raise ReplicaUnavailable(
                    "The engine of this replica has stopped; the replica is being replaced.", None, 1.0
                )
            waiting = self._inbox.waiting_tokens()
            if waiting and waiting + slice_.tokens > self._max_queued_tokens:
                raise Overloaded(
                    f"{waiting} tokens are waiting and the limit is {self._max_queued_tokens}: try again later.",
                    retry_after_s=waiting / self._tokens_per_s if self._tokens_per_s else 1.0,
                )
            self._inbox.put(job)
            self._wake.notify()
        return job

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more: its place is freed before the next step."""
        with self._wake:
            job.is_abandoned = True
            self._wake.notify()

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
        self._drop_abandoned()
        with self._wake:
            while not (self._is_stopping or self._active) and self._inbox.is_empty():
                self._wake.wait()
            if self._is_stopping:
                return False
            taken, late = self._take(time.monotonic())
            # Every text is on record before the engine sees the first: whatever `add` raises, no job is forgotten.
            keys = [self._record(job, row) for job, row in taken]
        self._expire(late)
        for key in keys:
            job, row = self._active[key]
            self._engine.add(key, job.text(row), job.slice.priority)
        return True

    def _take(self, now: float) -> tuple[list[tuple[Job, int]], list[Job]]:
        room = self._feed.interactive_tokens - self._in_engine[Priority.INTERACTIVE]
        taken, late = self._inbox.take(Priority.INTERACTIVE, room, now)
        if taken or self._in_engine[Priority.INTERACTIVE]:
            self._last_interactive = now
        is_present = now - self._last_interactive < self._feed.linger_s
        room = self._feed.bulk_tokens(is_present) - self._in_engine[Priority.BULK]
        bulk, bulk_late = self._inbox.take(Priority.BULK, room, now)
        return taken + bulk, late + bulk_late

    def _record(self, job: Job, row: int) -> int:
        key, self._next_key = self._next_key, self._next_key + 1
        self._active[key] = (job, row)
        self._in_engine[job.slice.priority] += job.length(row)
        return key

    def _expire(self, late: Sequence[Job]) -> None:
        """Answer late jobs; the texts of theirs that the engine holds already are dropped in the next turn."""
        message = "The deadline passed before all texts were computed."
        self._deliver_all([(job, DeadlineExceeded(message)) for job in late])
        for job in late:
            job.is_abandoned = True

    def _step(self) -> None:
        if not self._active:
            return
        started = time.monotonic()
        ended: list[Outcome] = []
        tokens = 0
        for key, vector in self._engine.step():
            entry = self._active.pop(key, None)
            if entry is None:
                continue
            job, row = entry
            tokens += self._release(job, row)
            job.vectors[row] = vector if vector.shape == job.vectors.shape[1:] else np.nan  # found by _fault
            job.missing -= 1
            if job.missing == 0:
                ended.append((job, _fault(job)))
        self.steps += 1
        self._measure(tokens, time.monotonic() - started)
        self._deliver_all(ended)

    def _release(self, job: Job, row: int) -> int:
        tokens, priority = job.length(row), job.slice.priority
        self._in_engine[priority] -= tokens
        self.texts_done[priority] += 1
        self.tokens_done[priority] += tokens
        return tokens

    def _measure(self, tokens: int, seconds: float) -> None:
        if tokens and seconds > 0:
            rate = tokens / seconds
            self._tokens_per_s = rate if not self._tokens_per_s else 0.9 * self._tokens_per_s + 0.1 * rate

    def _drop_abandoned(self) -> None:
        keys = [key for key, (job, _) in self._active.items() if job.is_abandoned]
        for key in keys:
            job, row = self._active.pop(key)
            self._in_engine[job.slice.priority] -= job.length(row)
        if keys:
            self._engine.drop(keys)

    def _deliver_all(self, outcomes: Sequence[Outcome]) -> None:
        wanted = [(job, error) for job, error in outcomes if not job.is_abandoned]
        if wanted:
            self._deliver(wanted)

    def _fail_everything(self) -> None:
        with self._wake:
            self._is_stopping = True
            jobs = {id(job): job for job in [*self._inbox.drain(), *(job for job, _ in self._active.values())]}
            self._active.clear()
        error = ReplicaUnavailable("The engine of this replica has stopped; the replica is being replaced.", None, 1.0)
        self._deliver_all([(job, error) for job in jobs.values()])


def _fault(job: Job) -> EngineFailed | None:
    """Why a finished job must not be answered."""
    if are_unit_norm(job.vectors):
        return None
    return EngineFailed("The engine computed a vector of the wrong size, not finite, or not of unit length.")


def are_unit_norm(vectors: Vectors) -> bool:
    """Every row of (n, D) is finite and of length 1, within what bfloat16 may round."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return bool(np.all(np.abs(norms - 1.0) < NORM_TOLERANCE))  # NaN compares False
