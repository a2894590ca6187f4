"""A worker whose engine is wrong, broken or told to stop: every job ends, and no wrong vector gets out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from serve_app.core.engine import Step, StepBounds
from serve_app.core.errors import ReplicaUnavailable
from serve_app.core.inbox import Feed
from serve_app.core.step_results import StepReport, are_unit_norm
from serve_app.core.types import TokenIds
from serve_app.core.worker import EngineWorker, WorkerLimits
from tests.engines.deterministic import DeterministicEngine, Vector, unit_vector
from tests.unit.serve_app.core.running import (
    PATIENCE_S,
    PLENTY,
    STUCK_AFTER_S,
    Answers,
    Clock,
    Gate,
    Running,
    held,
    running,
)
from tests.unit.serve_app.slices import bulk, interactive, right_vectors, texts_of

A_CRASH_IS_MEANT = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
BROKEN = {
    "NaN": np.full(8, np.nan, dtype=np.float32),
    "one infinite component": np.array([np.inf, 0, 0, 0, 0, 0, 0, 0], dtype=np.float32),
    "zeros": np.zeros(8, dtype=np.float32),
    "too long": np.full(8, 0.5, dtype=np.float32),
    "too short": np.full(8, 0.3, dtype=np.float32),
    "too few dimensions": np.full(4, 0.5, dtype=np.float32),
    "a single number": np.ones(1, dtype=np.float32),
    "too many dimensions": np.full(16, 0.25, dtype=np.float32),
}


def crash(*_: object) -> None:
    raise RuntimeError("the device fell off the bus")


@contextmanager
def unstarted(engine: DeterministicEngine) -> Iterator[Running]:
    """A worker for the test to start; it is stopped at the end."""
    answers, reports = Answers(), list[StepReport]()
    limits = WorkerLimits(PLENTY, STUCK_AFTER_S)
    worker = EngineWorker(engine, Feed(engine.step_tokens, 16, 16), limits, answers.deliver, reports.append)
    yield Running(engine, worker, answers, reports)
    worker.stop()


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_vector_is_named_and_no_other_text_suffers_for_it(broken: Vector) -> None:
    def vector_of(ids: TokenIds, dimensions: int) -> Vector:
        return {666: broken}.get(int(ids[0]), unit_vector(ids, dimensions))

    with held() as (run, gate):
        run.engine._vector_of = vector_of
        before = run.worker.submit(interactive(10, [2]))
        gate.await_step()
        bad = run.worker.submit(interactive(665, [2, 2, 2]))
        good = run.worker.submit(interactive(20, [2, 2]))
        gate.open()
        beside = run.answers.vectors_of(bad)[[0, 2]]
        np.testing.assert_array_equal(beside, right_vectors(texts_of(bad.slice))[[0, 2]])
        assert bad.faulty == {1}
        for job in (before, good):
            np.testing.assert_array_equal(run.answers.vectors_of(job), right_vectors(texts_of(job.slice)))
            assert not job.faulty
        assert run.worker.is_alive


def test_the_rounding_of_bfloat16_is_not_a_fault() -> None:
    def rounded(ids: TokenIds, dimensions: int) -> Vector:
        bits = unit_vector(ids, dimensions).view(np.uint32) & np.uint32(0xFFFF0000)
        return bits.view(np.float32)

    with running(DeterministicEngine(dimensions=1024, vector_of=rounded)) as run:
        assert len(run.embed(interactive(10, [3, 4, 5]))) == 3


def test_unit_norm_is_judged_row_by_row() -> None:
    vectors = right_vectors(texts_of(interactive(10, [3, 4, 5])))
    assert are_unit_norm(vectors)
    vectors[1] *= 1.1
    assert not are_unit_norm(vectors)


@A_CRASH_IS_MEANT
def test_a_crash_in_a_step_fails_every_job_and_the_worker_is_not_alive() -> None:
    with held(step_tokens=8) as (run, gate):
        jobs = [run.worker.submit(bulk(10, [8, 8, 8, 8]))]
        gate.await_step()
        jobs += [run.worker.submit(bulk(20, [8])), run.worker.submit(interactive(30, [8]))]
        run.engine.on_step = crash
        gate.open()
        assert [type(run.answers.error_of(job)) for job in jobs] == [ReplicaUnavailable] * 3
        run.worker.stop()
        assert not run.worker.is_alive
        assert run.engine.is_closed
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            run.worker.submit(interactive(40, [1]))


@A_CRASH_IS_MEANT
def test_a_crash_while_texts_are_handed_over_forgets_no_job() -> None:
    with held() as (run, gate):
        jobs = [run.worker.submit(interactive(10, [4]))]
        gate.await_step()
        late = run.worker.submit(interactive(20, [4], timeout_s=0.0))
        jobs += [run.worker.submit(interactive(name, [4, 4])) for name in (30, 40, 50)]
        run.engine.on_add = crash
        gate.open()
        assert run.answers.error_of(jobs[0]) is None
        assert [type(run.answers.error_of(job)) for job in jobs[1:]] == [ReplicaUnavailable] * 3
        assert run.answers.has(late)


@A_CRASH_IS_MEANT
def test_an_engine_is_closed_even_if_nobody_can_be_told_of_its_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DeterministicEngine(on_step=crash)
    with running(engine) as run:
        monkeypatch.setattr(run.worker, "_deliver", crash)  # as when the event loop is closed already
        run.worker.submit(interactive(10, [4]))
    assert engine.is_closed


def test_stopping_ends_the_step_under_way_and_fails_what_waits() -> None:
    with held(step_tokens=8) as (run, gate):
        first = run.worker.submit(bulk(10, [8]))
        gate.await_step()
        waiting = [run.worker.submit(bulk(20, [8, 8, 8])), run.worker.submit(interactive(30, [8]))]
        stopping = threading.Thread(target=run.worker.stop)
        stopping.start()
        while not run.worker._is_stopping:
            stopping.join(0.001)
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            run.worker.submit(interactive(40, [1]))
        gate.open()
        stopping.join(PATIENCE_S)
        assert run.answers.error_of(first) is None
        assert [type(run.answers.error_of(job)) for job in waiting] == [ReplicaUnavailable] * 2
    assert len(run.engine.tokens_of_steps) == 1
    assert run.engine.is_closed


def test_an_idle_worker_stops_at_once_and_closes_its_engine() -> None:
    with running(DeterministicEngine()) as run:
        assert run.worker.is_alive
    assert not run.worker.is_alive
    assert run.engine.is_closed


def test_stopping_twice_does_no_harm() -> None:
    with running(DeterministicEngine()) as run:
        run.worker.stop()
        run.worker.stop()
    assert run.engine.is_closed


def test_an_engine_that_stays_in_a_step_for_long_is_stuck(clock: Clock) -> None:
    with held() as (run, gate):
        run.worker.submit(interactive(10, [4]))
        gate.await_step()
        assert not run.worker.is_stuck(clock.now + STUCK_AFTER_S)
        assert run.worker.is_stuck(clock.now + STUCK_AFTER_S + 1)


class ComputesNothing(DeterministicEngine):
    def step(self, _: StepBounds) -> Step:
        self.on_step()
        return Step([], 0)


def test_an_engine_that_takes_steps_but_computes_nothing_is_stuck_even_if_its_clients_come_and_go(
    clock: Clock,
) -> None:
    gate = Gate()
    with running(ComputesNothing(on_step=gate.hold)) as run:
        for name in range(10, 13):
            job = run.worker.submit(interactive(name, [1000]))
            gate.await_step() if name == 10 else gate.pass_step()
            clock.advance(50.0)
            run.worker.abandon(job)
        run.worker.submit(interactive(20, [1000]))
        gate.pass_step()
        assert run.worker.is_stuck(clock.now)
        gate.open()


def test_a_slow_engine_that_gets_on_is_not_stuck_even_in_a_text_that_takes_long(clock: Clock) -> None:
    with held(step_tokens=16) as (run, gate):
        run.worker.submit(bulk(10, [1000]))
        gate.await_step()
        for _ in range(3):
            clock.advance(STUCK_AFTER_S - 1)
            gate.pass_step()
            assert not run.worker.is_stuck(clock.now)
        gate.open()
    assert not run.worker.is_stuck(clock.now + 1e6)


def test_giving_up_on_a_stuck_engine_fails_every_job_at_once_and_refuses_more() -> None:
    with held(step_tokens=8) as (run, gate):
        jobs = [run.worker.submit(bulk(10, [8, 8, 8, 8]))]
        gate.await_step()
        jobs += [run.worker.submit(bulk(20, [8])), run.worker.submit(interactive(30, [8]))]
        run.worker.give_up()
        assert all(run.answers.has(job) for job in jobs)  # while the engine still stands in its step
        assert [type(run.answers.error_of(job)) for job in jobs] == [ReplicaUnavailable] * 3
        assert run.worker.is_alive
        assert not run.worker.is_serving
        assert run.worker.queued_tokens == 0
        with pytest.raises(ReplicaUnavailable, match="has stopped"):
            run.worker.submit(interactive(40, [1]))
        gate.open()
    assert run.engine.is_closed  # it came back after all, and nothing was delivered twice


def test_the_vectors_that_failed_are_counted_and_not_their_neighbours() -> None:
    def vector_of(ids: TokenIds, dimensions: int) -> Vector:
        return BROKEN["NaN"] if ids[0] >= 666 else unit_vector(ids, dimensions)

    with running(DeterministicEngine(vector_of=vector_of)) as run:
        for slice_ in (interactive(664, [2, 2, 2, 2]), interactive(10, [2, 2]), interactive(700, [2])):
            run.answers.error_of(run.worker.submit(slice_))
    assert [report.faults for report in run.reports] == [2, 0, 1]


@A_CRASH_IS_MEANT
def test_a_crash_is_told_after_its_failures_were_delivered_and_before_the_engine_is_closed() -> None:
    seen: list[tuple[int, bool]] = []
    engine = DeterministicEngine(on_step=crash)
    with unstarted(engine) as run:
        run.worker.start(lambda: seen.append((len(run.answers.batches), engine.is_closed)))
        assert isinstance(run.answers.error_of(run.worker.submit(interactive(10, [4]))), ReplicaUnavailable)
    assert seen == [(1, False)]
    assert engine.is_closed


def test_a_worker_that_is_stopped_or_given_up_has_not_crashed() -> None:
    crashes: list[str] = []
    for end in (EngineWorker.stop, EngineWorker.give_up):
        with unstarted(DeterministicEngine()) as run:
            run.worker.start(lambda: crashes.append("crashed"))
            run.embed(interactive(10, [4]))
            end(run.worker)
    assert not crashes
