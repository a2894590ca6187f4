"""What a worker does not compute: too much at once, too late, or no longer wanted."""

from __future__ import annotations

import pytest

from serve_app.core.errors import DeadlineExceeded, Overloaded
from serve_app.core.inbox import Feed
from serve_app.core.types import Priority
from tests.engines.deterministic import DeterministicEngine
from tests.unit.serve_app.core.running import Clock, held, running
from tests.unit.serve_app.slices import bulk, interactive

NEVER_FED = Feed(step_tokens=8, least_quantum=1, most_quantum=1)  # after 16 tokens the rest waits in the inbox


def test_a_full_class_refuses_a_slice_with_both_numbers_and_the_other_class_has_room() -> None:
    with held(NEVER_FED, max_queued_tokens=100) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        run.worker.submit(bulk(20, [60]))
        match = "60 bulk tokens are waiting and the limit is 100: try again later"
        with pytest.raises(Overloaded, match=match) as caught:
            run.worker.submit(bulk(30, [41]))
        assert caught.value.retry_after_s == 1.0  # nothing has been measured yet
        run.worker.submit(bulk(40, [40]))
        run.worker.submit(interactive(50, [100]))
        with pytest.raises(Overloaded, match="100 interactive tokens are waiting"):
            run.worker.submit(interactive(60, [1]))


def test_a_refused_slice_leaves_nothing_behind() -> None:
    with held(NEVER_FED, max_queued_tokens=100) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        run.worker.submit(bulk(20, [60]))
        with pytest.raises(Overloaded):
            run.worker.submit(bulk(30, [41]))
        assert run.worker.queued_tokens == 76
        assert run.worker.queued_tokens_of(Priority.INTERACTIVE) == 0


def test_an_empty_inbox_takes_even_a_slice_larger_than_the_limit() -> None:
    with running(DeterministicEngine(), max_queued_tokens=10) as run:
        assert len(run.embed(interactive(10, [50]))) == 1


def test_retry_after_is_the_waiting_tokens_divided_by_the_measured_rate(clock: Clock) -> None:
    with held(NEVER_FED, max_queued_tokens=100, step_tokens=8) as (run, gate):
        run.worker.submit(bulk(10, [8, 8]))
        gate.await_step()
        clock.advance(0.25)  # 8 tokens in a quarter of a second
        run.worker.submit(bulk(20, [16, 64, 20]))
        gate.pass_step()
        with pytest.raises(Overloaded, match="84 bulk tokens are waiting") as caught:
            run.worker.submit(bulk(30, [17]))
    assert caught.value.retry_after_s == 84 / 32


def test_bulk_waits_for_the_interactive_tokens_too_and_interactive_only_for_its_own(clock: Clock) -> None:
    with held(NEVER_FED, max_queued_tokens=100, step_tokens=8) as (run, gate):
        run.worker.submit(bulk(10, [8, 8]))
        gate.await_step()
        clock.advance(0.25)  # 8 tokens in a quarter of a second
        run.worker.submit(bulk(20, [16, 90]))
        run.worker.submit(interactive(30, [16, 80]))
        gate.pass_step()
        waiting = {priority: run.worker._scheduler._inbox.waiting_tokens(priority) for priority in Priority}
        with pytest.raises(Overloaded) as bulk_caught:
            run.worker.submit(bulk(40, [90]))
        with pytest.raises(Overloaded) as interactive_caught:
            run.worker.submit(interactive(50, [90]))
    assert min(waiting.values()) > 0
    assert bulk_caught.value.retry_after_s == sum(waiting.values()) / 32
    assert interactive_caught.value.retry_after_s == waiting[Priority.INTERACTIVE] / 32


def test_the_engine_never_holds_more_than_its_memory_has_room_for() -> None:
    held_tokens: list[int] = []
    feed = Feed(step_tokens=64, least_quantum=64, most_quantum=64, capacity_tokens=40)
    engine = DeterministicEngine(step_tokens=16)
    engine.on_step = lambda: held_tokens.append(sum(engine.held_tokens(priority) for priority in Priority))
    with running(engine, feed) as run:
        jobs = [run.worker.submit(make(10, [16] * 20)) for make in (bulk, interactive, bulk)]
        assert [run.answers.error_of(job) for job in jobs] == [None] * 3
    assert max(held_tokens) == 32


def test_a_long_interactive_text_that_waits_for_memory_is_not_kept_out_by_bulk() -> None:
    feed = Feed(step_tokens=8, least_quantum=8, most_quantum=8, capacity_tokens=40)
    with held(feed, step_tokens=8) as (run, gate):
        run.worker.submit(bulk(10, [8] * 30))
        gate.await_step()  # the engine holds 16 bulk tokens
        job = run.worker.submit(interactive(100, [40]))
        for _ in range(2 + 5):
            gate.pass_step()
        assert run.answers.has(job)
        gate.open()


def test_a_slice_that_comes_too_late_never_reaches_the_engine() -> None:
    with running(DeterministicEngine()) as run:
        error = run.answers.error_of(run.worker.submit(interactive(10, [4], timeout_s=0.0)))
    assert isinstance(error, DeadlineExceeded)
    assert run.engine.added == []
    assert run.engine.tokens_of_steps == []  # not even an empty step


def test_a_slice_whose_deadline_passes_while_it_waits_never_reaches_the_engine(clock: Clock) -> None:
    with held() as (run, gate):
        first = run.worker.submit(interactive(10, [4], timeout_s=5.0))
        gate.await_step()
        late = run.worker.submit(interactive(20, [4], timeout_s=5.0))
        good = run.worker.submit(interactive(30, [4], timeout_s=6.0))
        clock.advance(5.5)
        gate.open()
        assert isinstance(run.answers.error_of(late), DeadlineExceeded)
        assert run.answers.error_of(first) is None
        assert run.answers.error_of(good) is None
    assert [ids[0] for ids in run.engine.added] == [10, 30]


def test_a_slice_that_is_late_half_way_frees_its_place_in_the_engine(clock: Clock) -> None:
    with held(NEVER_FED, step_tokens=4) as (run, gate):
        late = run.worker.submit(bulk(10, [8, 8, 8, 8], timeout_s=5.0))
        gate.await_step()
        clock.advance(6.0)
        good = run.worker.submit(bulk(20, [8]))
        gate.open()
        assert isinstance(run.answers.error_of(late), DeadlineExceeded)
        assert run.answers.error_of(good) is None
    assert [ids[0] for ids in run.engine.added] == [10, 11, 20]
    assert run.engine.dropped == [1]
    assert run.worker.queued_tokens == 0


def test_an_abandoned_slice_that_waits_never_reaches_the_engine_and_is_not_answered() -> None:
    with held() as (run, gate):
        first = run.worker.submit(bulk(10, [4]))
        gate.await_step()
        abandoned = run.worker.submit(bulk(20, [4]))
        after = run.worker.submit(bulk(30, [4]))
        run.worker.abandon(abandoned)
        gate.open()
        assert [run.answers.error_of(job) for job in (first, after)] == [None, None]
    assert [ids[0] for ids in run.engine.added] == [10, 30]
    assert not run.answers.has(abandoned)


def test_an_abandoned_slice_makes_room_for_others_at_once() -> None:
    with held(NEVER_FED, max_queued_tokens=100) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        run.worker.abandon(run.worker.submit(bulk(20, [90])))
        run.worker.submit(bulk(30, [90]))


def test_an_abandoned_slice_frees_its_place_in_the_engine_before_the_next_step() -> None:
    with held(NEVER_FED, step_tokens=8) as (run, gate):
        abandoned = run.worker.submit(bulk(10, [8, 8]))
        gate.await_step()
        good = run.worker.submit(bulk(20, [8, 8]))
        run.worker.abandon(abandoned)
        gate.pass_step()
        assert run.engine.dropped == [1]
        assert run.engine.held_tokens(Priority.BULK) == 16  # both texts of the other slice, taken in the same turn
        gate.open()
        assert run.answers.error_of(good) is None
    assert not run.answers.has(abandoned)
    assert run.worker.queued_tokens == 0


def test_a_slice_abandoned_as_its_last_text_is_computed_is_not_answered() -> None:
    with held() as (run, gate):
        abandoned = run.worker.submit(interactive(10, [4]))
        gate.await_step()
        run.worker.abandon(abandoned)
        gate.open()
        run.embed(interactive(20, [4]))
    assert not run.answers.has(abandoned)
