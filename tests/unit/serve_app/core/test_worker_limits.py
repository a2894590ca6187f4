"""What a worker does not compute: too much at once, too late, or no longer wanted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serve_app.core import worker as worker_module
from serve_app.core.errors import DeadlineExceeded, Overloaded
from serve_app.core.inbox import Feed
from serve_app.core.types import Priority
from tests.engines.deterministic import DeterministicEngine
from tests.unit.serve_app.core.running import held, running
from tests.unit.serve_app.slices import bulk, interactive

NEVER_FED = Feed(step_tokens=8, bulk_quantum=1)  # after 16 tokens the rest waits in the inbox


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_full_inbox_refuses_a_slice_with_both_numbers() -> None:
    with held(NEVER_FED, max_queued_tokens=100) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        run.worker.submit(bulk(20, [60]))
        with pytest.raises(Overloaded, match="60 tokens are waiting and the limit is 100: try again later") as caught:
            run.worker.submit(interactive(30, [41]))
        assert caught.value.retry_after_s == 1.0  # nothing has been measured yet
        run.worker.submit(interactive(40, [40]))


def test_a_refused_slice_leaves_nothing_behind() -> None:
    with held(NEVER_FED, max_queued_tokens=100) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        run.worker.submit(bulk(20, [60]))
        with pytest.raises(Overloaded):
            run.worker.submit(interactive(30, [41]))
        assert run.worker.queued_tokens == 76


def test_an_empty_inbox_takes_even_a_slice_larger_than_the_limit() -> None:
    with running(DeterministicEngine(), max_queued_tokens=10) as run:
        assert len(run.embed(interactive(10, [50]))) == 1


def test_retry_after_is_the_waiting_tokens_divided_by_the_measured_rate(clock: Clock) -> None:
    with held(NEVER_FED, max_queued_tokens=100, step_tokens=16) as (run, gate):
        run.worker.submit(bulk(10, [16]))
        gate.await_step()
        clock.advance(0.5)  # 16 tokens in half a second
        run.worker.submit(bulk(20, [16, 64, 20]))
        gate.pass_step()
        with pytest.raises(Overloaded, match="84 tokens are waiting") as caught:
            run.worker.submit(bulk(30, [17]))
    assert caught.value.retry_after_s == 84 / 32


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
