"""What a worker answers, and in which order it works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest

from serve_app.core.inbox import Feed, Job
from serve_app.core.types import Priority, Slice
from tests.engines.deterministic import DeterministicEngine
from tests.unit.serve_app.core.running import PATIENCE_S, Clock, Gate, Running, held, running
from tests.unit.serve_app.slices import FOREVER_S, bulk, interactive, right_vectors, texts_of

STEP_TOKENS = 64


def random_slice(random: Random) -> Slice:
    lengths = [random.choice([1, 2, 7, 30, 200]) for _ in range(random.randint(1, 9))]
    texts = [np.array([random.randrange(10**6) for _ in range(length)], dtype=np.int32) for length in lengths]
    return Slice.of(texts, random.choice(list(Priority)), FOREVER_S)


def test_the_vectors_of_a_slice_come_back_in_its_order() -> None:
    slice_ = interactive(10, [3, 100, 1, 8])
    with running(DeterministicEngine()) as run:
        np.testing.assert_array_equal(run.embed(slice_), right_vectors(texts_of(slice_)))


def test_many_threads_get_their_own_vectors_in_order() -> None:
    slices = [random_slice(Random(seed)) for seed in range(80)]  # noqa: S311  # reproducible, not secret
    with running(DeterministicEngine(step_tokens=STEP_TOKENS)) as run, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(run.embed, slices, timeout=PATIENCE_S))
    for slice_, vectors in zip(slices, answers, strict=True):
        np.testing.assert_array_equal(vectors, right_vectors(texts_of(slice_)))
    assert max(run.engine.tokens_of_steps) <= STEP_TOKENS


def test_the_engine_sees_every_text_exactly_once() -> None:
    slices = [bulk(100 * index, [5, 40, 70]) for index in range(10)]
    with running(DeterministicEngine(step_tokens=STEP_TOKENS)) as run:
        jobs = [run.worker.submit(slice_) for slice_ in slices]
        assert [run.answers.error_of(job) for job in jobs] == [None] * 10
    given = [tuple(ids.tolist()) for slice_ in slices for ids in texts_of(slice_)]
    assert run.engine.added == given


def test_slices_that_end_in_one_step_are_delivered_together() -> None:
    with held() as (run, gate):
        jobs = [run.worker.submit(interactive(1, [1]))]
        gate.await_step()
        jobs += [run.worker.submit(interactive(name, [1])) for name in (2, 3, 4)]
        gate.pass_step()
        gate.open()
        assert [run.answers.error_of(job) for job in jobs] == [None] * 4
    assert [[job for job, _ in batch] for batch in run.answers.batches] == [jobs[:1], jobs[:0:-1]]


def test_an_idle_worker_takes_no_steps() -> None:
    with running(DeterministicEngine()) as run:
        run.embed(interactive(1, [4]))
        run.embed(interactive(2, [4]))
    assert run.worker.done.steps == len(run.engine.tokens_of_steps) == 2


def test_what_is_done_is_counted_by_class() -> None:
    with running(DeterministicEngine()) as run:
        run.embed(interactive(10, [3, 4]))
        run.embed(bulk(20, [30, 1, 1]))
        run.embed(interactive(30, [2]))
    assert run.worker.done.texts == {Priority.INTERACTIVE: 3, Priority.BULK: 3}
    assert run.worker.done.tokens == {Priority.INTERACTIVE: 9, Priority.BULK: 32}
    assert run.worker.queued_tokens == 0


def test_every_step_is_reported_by_class() -> None:
    with held(Feed(8, least_quantum=8, most_quantum=8), step_tokens=8) as (run, gate):
        jobs = [run.worker.submit(bulk(10, [12]))]
        gate.await_step()
        jobs += [run.worker.submit(interactive(20, [2, 2])), run.worker.submit(bulk(30, [8]))]
        gate.open()
        assert [run.answers.error_of(job) for job in jobs] == [None] * 3
    none, interactive_class, bulk_class = (
        {Priority.INTERACTIVE: 0, Priority.BULK: 0},
        Priority.INTERACTIVE,
        Priority.BULK,
    )
    assert [report.texts for report in run.reports] == [
        none,
        {interactive_class: 2, bulk_class: 1},
        none | {bulk_class: 1},
    ]
    assert [report.tokens[bulk_class] for report in run.reports] == [0, 12, 8]
    assert [report.tokens[interactive_class] for report in run.reports] == [0, 4, 0]
    assert [report.faults for report in run.reports] == [0, 0, 0]
    assert all(report.seconds > 0 for report in run.reports)


def test_queued_tokens_count_what_waits_and_what_is_being_computed() -> None:
    with held(step_tokens=8) as (run, gate):
        run.worker.submit(bulk(10, [8, 8]))
        gate.await_step()
        run.worker.submit(bulk(20, [8]))
        assert run.worker.queued_tokens == 24
        gate.pass_step()
        assert run.worker.queued_tokens == 16


@pytest.fixture
def eager_thread_switches() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("eager_thread_switches")
def test_queued_tokens_can_be_read_while_slices_come_and_go() -> None:
    with running(DeterministicEngine()) as run, ThreadPoolExecutor(1) as threads:
        submitted = threads.submit(lambda: [run.worker.submit(bulk(100 + index, [4])) for index in range(400)])
        while not submitted.done() or run.worker.queued_tokens:
            assert run.worker.queued_tokens <= 1600
    assert run.worker.done.tokens[Priority.BULK] == 1600


@pytest.mark.parametrize("waiting_slices", [1, 50])
def test_an_interactive_text_waits_for_the_step_under_way_at_most(waiting_slices: int) -> None:
    with held(step_tokens=STEP_TOKENS) as (run, gate):
        for index in range(waiting_slices):
            run.worker.submit(bulk(100 * index, [16] * 8))
        gate.await_step()
        job = run.worker.submit(interactive(9000, [4]))
        gate.pass_step()  # ends the step that was under way
        assert not run.answers.has(job)
        gate.pass_step()
        assert run.answers.has(job)


def test_while_interactive_texts_come_bulk_gets_a_quantum_in_every_other_step_and_gives_way_between() -> None:
    feed = Feed(STEP_TOKENS, least_quantum=8, most_quantum=16, linger_s=FOREVER_S)
    with held(feed) as (run, gate):
        run.worker.submit(interactive(9000, [4]))
        gate.await_step()
        bulk_job = run.worker.submit(bulk(100, [8] * 40))
        for index in range(5):
            run.worker.submit(interactive(9001 + index, [4]))
            gate.pass_step()
        gate.pass_step()
        assert run.engine.bulk_tokens_of_steps[:6] == [0, 16, 4, 16, 4, 16]
        gate.open()
        np.testing.assert_array_equal(run.answers.vectors_of(bulk_job), right_vectors(texts_of(bulk_job.slice)))


def test_an_interactive_text_has_a_short_step_although_the_engine_is_full_of_bulk() -> None:
    with held(Feed(STEP_TOKENS, least_quantum=8, most_quantum=16)) as (run, gate):
        run.worker.submit(bulk(100, [16] * 40))
        gate.await_step()
        run.worker.submit(interactive(9000, [4]))
        gate.pass_step()
        gate.pass_step()
        assert run.engine.tokens_of_steps == [STEP_TOKENS, 4 + 4]


def test_a_long_bulk_text_goes_on_by_a_quantum_at_a_time_beside_interactive_ones() -> None:
    with held(Feed(STEP_TOKENS, least_quantum=8, most_quantum=16)) as (run, gate):
        job = run.worker.submit(bulk(100, [300]))
        gate.await_step()
        steps = 1
        while not run.answers.has(job):
            run.worker.submit(interactive(9000 + steps, [4]))
            gate.pass_step()
            steps += 1
        assert max(run.engine.bulk_tokens_of_steps[1:]) == 16
        np.testing.assert_array_equal(run.answers.vectors_of(job), right_vectors(texts_of(job.slice)))


def test_a_bulk_text_that_has_begun_goes_on_by_less_in_the_step_that_interactive_texts_have_come_for() -> None:
    with held(Feed(STEP_TOKENS, least_quantum=8, most_quantum=32)) as (run, gate):
        run.worker.submit(bulk(100, [300]))
        gate.await_step()
        run.worker.submit(interactive(9000, [6]))
        gate.pass_step()
        run.worker.submit(interactive(9001, [6]))
        gate.pass_step()
        gate.pass_step()
    assert run.engine.tokens_of_steps[:3] == [STEP_TOKENS, 6 + 6, 6 + 32]


def test_without_bulk_a_long_interactive_text_is_not_cut() -> None:
    with held(Feed(STEP_TOKENS, least_quantum=8, most_quantum=16)) as (run, gate):
        job = run.worker.submit(interactive(9000, [40, 40]))
        gate.await_step()
        gate.pass_step()
        gate.open()
        assert run.answers.error_of(job) is None
    assert run.engine.tokens_of_steps == [STEP_TOKENS, 80 - STEP_TOKENS]


@pytest.mark.parametrize("lengths", [[20], [40, 3], [64]])
def test_an_engine_that_cannot_pause_in_a_text_computes_every_text_beside_the_other_class(lengths: list[int]) -> None:
    engine = DeterministicEngine(step_tokens=STEP_TOKENS, can_pause=False)
    feed = Feed(STEP_TOKENS, least_quantum=4, most_quantum=8, linger_s=FOREVER_S)
    with running(engine, feed) as run:
        jobs = [run.worker.submit(make(100 * index, lengths)) for index in range(9) for make in (bulk, interactive)]
        assert [run.answers.error_of(job) for job in jobs] == [None] * 18
        for job in jobs:
            np.testing.assert_array_equal(run.answers.vectors_of(job), right_vectors(texts_of(job.slice)))
    assert 0 not in engine.tokens_of_steps


def test_a_quantum_is_what_the_engine_computes_in_its_time(clock: Clock) -> None:
    feed = Feed(STEP_TOKENS, least_quantum=8, most_quantum=32, quantum_s=0.5, alone_s=1.0)
    with held(feed) as (run, gate):
        run.worker.submit(bulk(100, [8] * 200))
        gate.await_step()
        clock.advance(2.0)  # 32 tokens a second
        gate.pass_step()
        clock.advance(1.0)
        gate.pass_step()
        for index in range(2):
            run.worker.submit(interactive(9000 + index, [4]))
            clock.advance(1.0 - 0.75 * index)
            gate.pass_step()
        gate.pass_step()
    assert run.engine.bulk_tokens_of_steps[:5] == [STEP_TOKENS, 32, 32, 4, 16]


def test_alone_bulk_keeps_the_next_step_ready() -> None:
    with held(step_tokens=STEP_TOKENS) as (run, gate):
        run.worker.submit(bulk(100, [16] * 20))
        gate.await_step()
        for _ in range(3):
            assert run.engine.held_tokens(Priority.BULK) == 2 * STEP_TOKENS
            gate.pass_step()
    assert run.engine.tokens_of_steps[:3] == [STEP_TOKENS] * 3


def test_bulk_gets_full_steps_again_once_interactive_traffic_has_ended() -> None:
    feed = Feed(STEP_TOKENS, least_quantum=16, most_quantum=16, linger_s=0.0)
    with held(feed) as (run, gate):
        run.worker.submit(interactive(9000, [4]))
        gate.await_step()
        run.worker.submit(bulk(100, [16] * 20))
        gate.pass_step()
        assert run.engine.held_tokens(Priority.BULK) == 2 * STEP_TOKENS


def test_bulk_is_not_starved_by_interactive_traffic() -> None:
    with held(Feed(STEP_TOKENS, least_quantum=16, most_quantum=16, linger_s=FOREVER_S)) as (
        run,
        gate,
    ):
        run.worker.submit(interactive(9000, [4]))
        gate.await_step()
        job = run.worker.submit(bulk(100, [8] * 10))
        steps = 0
        while not run.answers.has(job):
            run.worker.submit(interactive(9001 + steps, [32]))
            gate.pass_step()
            steps += 1
        assert steps <= 1 + 2 * 80 // 16  # a quantum in every other step, after the step that was under way


FULL = [16] * (STEP_TOKENS // 16)  # an interactive slice that fills a step


def keep_full(run: Running, gate: Gate, clock: Clock, job: Job, most_steps: int) -> int:
    """Interactive traffic for half a second a step, more than the engine can take, until the job is answered."""
    for steps in range(most_steps):
        run.worker.submit(interactive(9000 + steps, FULL))
        clock.advance(0.5)
        gate.pass_step()
        if run.answers.has(job):
            return steps
    return most_steps


def test_bulk_that_has_waited_long_is_computed_beside_more_interactive_traffic_than_fits(clock: Clock) -> None:
    with held(Feed(STEP_TOKENS, least_quantum=16, most_quantum=16)) as (run, gate):
        run.worker.submit(interactive(8000, FULL * 4))
        gate.await_step()
        job = run.worker.submit(bulk(100, [8] * 6))
        assert keep_full(run, gate, clock, job, 30) <= 16  # three quanta, each after a second of patience
        np.testing.assert_array_equal(run.answers.vectors_of(job), right_vectors(texts_of(job.slice)))


def test_bulk_given_to_the_engine_in_quiet_times_does_not_starve_in_it(clock: Clock) -> None:
    with held(Feed(STEP_TOKENS, least_quantum=16, most_quantum=16)) as (run, gate):
        first = run.worker.submit(bulk(100, [32] * 8))
        gate.await_step()  # the engine holds two steps of bulk
        run.worker.submit(interactive(8000, FULL * 4))
        steps = keep_full(run, gate, clock, first, 60)
        assert steps < 60
        assert run.engine.dropped  # the texts were given to it anew
        np.testing.assert_array_equal(run.answers.vectors_of(first), right_vectors(texts_of(first.slice)))


def test_bulk_that_waits_beside_interactive_traffic_gets_no_more_than_a_quantum_at_a_time(clock: Clock) -> None:
    with held(Feed(STEP_TOKENS, least_quantum=16, most_quantum=16)) as (run, gate):
        run.worker.submit(interactive(8000, FULL * 4))
        gate.await_step()
        run.worker.submit(bulk(100, [8] * 200))
        for index in range(12):
            run.worker.submit(interactive(9000 + index, FULL))
            clock.advance(0.5)
            gate.pass_step()
            assert run.engine.held_tokens(Priority.INTERACTIVE) <= 2 * STEP_TOKENS + 16
        assert run.worker.done.tokens[Priority.BULK] <= 12 * 16
        assert run.worker.done.tokens[Priority.INTERACTIVE] >= 9 * STEP_TOKENS
