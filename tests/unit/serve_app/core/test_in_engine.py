"""When bulk texts inside a full engine are given to it anew."""

from __future__ import annotations

from dataclasses import replace

from serve_app.core.in_engine import HeldText, InEngine
from serve_app.core.inbox import Feed, Job
from serve_app.core.types import Priority, Slice
from tests.unit.serve_app.slices import bulk, interactive

QUANTUM = 16
FEED = Feed(step_tokens=64, least_quantum=QUANTUM, most_quantum=QUANTUM, patience_s=1.0)


def add(engine: InEngine, slice_: Slice, now: float = 0.0) -> list[int]:
    job = Job.of(slice_, dimensions=2, now=now)
    return [engine.add(HeldText(job, row, slice_.priority), now) for row in range(slice_.texts)]


def test_a_quantum_at_a_time_is_given_anew_with_the_priority_of_interactive_texts() -> None:
    engine = InEngine()
    add(engine, interactive(1, [64]))
    keys = add(engine, bulk(10, [8] * 5))
    stale = engine.promote_stale(FEED, QUANTUM, now=1.1)
    assert list(stale) == keys[:2]
    assert {text.priority for text in stale.values()} == {Priority.INTERACTIVE}
    assert engine.tokens[Priority.BULK] == 24
    assert engine.promote_stale(FEED, QUANTUM, now=2.0) == {}
    assert list(engine.promote_stale(FEED, QUANTUM, now=2.2)) == keys[2:4]


def test_bulk_that_gets_on_is_left_alone() -> None:
    engine = InEngine()
    add(engine, interactive(1, [64]))
    keys = add(engine, bulk(10, [8] * 5))
    engine.finish(keys[0], now=0.9)
    assert engine.promote_stale(FEED, QUANTUM, now=1.1) == {}


def test_bulk_that_has_begun_gets_on_and_is_left_alone() -> None:
    engine = InEngine()
    add(engine, interactive(1, [64]))
    keys = add(engine, bulk(10, [80, 8]))
    engine.go_on(frozenset(keys[:1]))
    assert engine.promote_stale(FEED, QUANTUM, now=1.1) == {}
    engine.go_on(frozenset())
    assert engine.promote_stale(FEED, QUANTUM, now=2.0) == {}
    assert list(engine.promote_stale(FEED, QUANTUM, now=2.2)) == keys[:1]


def test_an_engine_with_as_many_texts_as_a_step_takes_is_full_whatever_their_size() -> None:
    engine = InEngine()
    add(engine, interactive(1, [1] * 5))
    keys = add(engine, bulk(10, [8]))
    assert engine.promote_stale(replace(FEED, step_texts=6), QUANTUM, now=1.1) == {}
    assert list(engine.promote_stale(replace(FEED, step_texts=5), QUANTUM, now=1.1)) == keys


def test_bulk_in_an_engine_with_room_is_left_alone() -> None:
    engine = InEngine()
    add(engine, interactive(1, [63]))
    add(engine, bulk(10, [8] * 5))
    assert engine.promote_stale(FEED, QUANTUM, now=9.0) == {}


def test_what_leaves_counts_no_longer() -> None:
    engine = InEngine()
    (first,) = add(engine, interactive(1, [5]))
    add(engine, bulk(10, [8]))
    assert engine.held_tokens == 13
    assert engine.finish(first, now=1.0) is not None
    assert engine.finish(first, now=1.0) is None
    assert engine.held_tokens == 8
    assert len(engine.drain()) == 1
    assert not engine
