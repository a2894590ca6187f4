"""A worker on a deterministic engine, what it delivers, and a gate that holds the engine in the middle of a step."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from serve_app.core import worker as worker_module
from serve_app.core.errors import RequestError
from serve_app.core.inbox import Feed, Job
from serve_app.core.step_results import Outcome, StepReport
from serve_app.core.types import Slice, Vectors
from serve_app.core.worker import EngineWorker, WorkerLimits
from tests.engines.deterministic import DeterministicEngine

PATIENCE_S = 10.0  # far more than anything here takes: a wait that ends by it is a failed test
PLENTY = 10**6
STUCK_AFTER_S = 120.0


class Clock:
    """The worker's clock, standing still until it is advanced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Answers:
    """The outcomes by job. A job that is delivered twice fails the engine thread, and with it the test."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[Job, Future[RequestError | None]] = defaultdict(Future)
        self.batches: list[list[Outcome]] = []

    def deliver(self, outcomes: Sequence[Outcome]) -> None:
        self.batches.append(list(outcomes))
        for job, error in outcomes:
            self._of(job).set_result(error)

    def error_of(self, job: Job) -> RequestError | None:
        return self._of(job).result(PATIENCE_S)

    def vectors_of(self, job: Job) -> Vectors:
        assert self.error_of(job) is None
        return job.vectors

    def has(self, job: Job) -> bool:
        return self._of(job).done()

    def _of(self, job: Job) -> Future[RequestError | None]:
        with self._lock:
            return self._futures[job]


class Gate:
    """Lets one step pass at a time; use its `hold` as the engine's `on_step`."""

    def __init__(self) -> None:
        self._entered = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)
        self._is_open = False

    def hold(self) -> None:
        self._entered.release()
        self._permits.acquire(blocking=not self._is_open)

    def await_step(self) -> None:
        """Returns once the engine stands in a step that has not been let pass."""
        assert self._entered.acquire(timeout=PATIENCE_S)

    def pass_step(self) -> None:
        """Let the step end in which the engine stands, and wait until it stands in the next one."""
        self._permits.release()
        self.await_step()

    def open(self) -> None:
        self._is_open = True
        self._permits.release()


@dataclass(frozen=True, slots=True)
class Running:
    engine: DeterministicEngine
    worker: EngineWorker
    answers: Answers
    reports: list[StepReport]

    def embed(self, slice_: Slice) -> Vectors:
        return self.answers.vectors_of(self.worker.submit(slice_))


@contextmanager
def running(
    engine: DeterministicEngine, feed: Feed | None = None, max_queued_tokens: int = PLENTY
) -> Iterator[Running]:
    answers = Answers()
    quantum = max(1, engine.step_tokens // 4)
    feed = feed or Feed(engine.step_tokens, quantum, quantum)
    reports: list[StepReport] = []
    worker = EngineWorker(engine, feed, WorkerLimits(max_queued_tokens, STUCK_AFTER_S), answers.deliver, reports.append)
    worker.start()
    try:
        yield Running(engine, worker, answers, reports)
    finally:
        worker.stop()


@contextmanager
def held(
    feed: Feed | None = None, max_queued_tokens: int = PLENTY, step_tokens: int = 64
) -> Iterator[tuple[Running, Gate]]:
    """A running worker whose engine stops at the gate in every step; the gate opens at the end."""
    gate = Gate()
    engine = DeterministicEngine(step_tokens=step_tokens, on_step=gate.hold)
    with running(engine, feed, max_queued_tokens) as run:
        try:
            yield run, gate
        finally:
            gate.open()
