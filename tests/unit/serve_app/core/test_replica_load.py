"""What a replica tells the autoscaler."""

from __future__ import annotations

import pytest

from serve_app.core.replica_count import WINDOW_S
from serve_app.core.replica_load import BACKLOG_TOKENS, DONE_TOKENS_PER_S, DONE_WINDOW_S, ReplicaLoad


def backlog(load: ReplicaLoad, now: float) -> float:
    return load.stats(0, 0, 0.0, now)[BACKLOG_TOKENS]


def done(load: ReplicaLoad, tokens: int, now: float) -> float:
    return load.stats(0, tokens, 0.0, now)[DONE_TOKENS_PER_S]


def test_the_last_word_of_every_sender_counts_once() -> None:
    load = ReplicaLoad()
    load.heard("router 1", 500.0, 0.0)
    load.heard("router 2", 70.0, 0.5)
    load.heard("router 1", 100.0, 1.0)
    assert backlog(load, 1.0) == 170.0


def test_a_sender_that_sends_no_more_is_forgotten() -> None:
    load = ReplicaLoad()
    load.heard("router 1", 500.0, 0.0)
    load.heard("router 2", 70.0, 5.0)
    assert backlog(load, WINDOW_S - 0.1) == 570.0
    assert backlog(load, WINDOW_S) == 70.0


def test_senders_do_not_pile_up_where_nobody_asks() -> None:
    load = ReplicaLoad()
    for index in range(1000):
        load.heard(f"job {index}", 1.0, index * 1.0)
    assert len(load._heard) <= WINDOW_S


def test_the_done_rate_is_of_the_last_seconds_and_includes_idle_time() -> None:
    load = ReplicaLoad()
    assert done(load, 10_000, 0.0) == 0.0
    rates = [done(load, 10_000 + 100 * second, float(second)) for second in range(1, 21)]
    assert rates == pytest.approx([100.0] * 20)
    assert done(load, 12_000, 20.0 + DONE_WINDOW_S / 2) == pytest.approx(50.0, rel=0.3)
    assert done(load, 12_000, 21.0 + 2 * DONE_WINDOW_S) == 0.0


def test_its_own_queue_and_speed_are_told_as_they_are() -> None:
    assert ReplicaLoad().stats(42, 0, 1500.0, 0.0) == {
        "queued_tokens": 42.0,
        "backlog_tokens": 0.0,
        "done_tokens_per_s": 0.0,
        "speed_tokens_per_s": 1500.0,
    }
