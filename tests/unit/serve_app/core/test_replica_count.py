"""Counting replicas by their answers: never outside the bounds, quick to find one, slow to forget one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.replica_count import WINDOW_S, ReplicaCount

Answer = tuple[str, float]


def work(count: ReplicaCount, replicas: str, start: float, seconds: float, took_s: float = 0.1) -> float:
    """One slice after the other, to each of the replicas in turn; the time when the last one is back."""
    now = start
    while now < start + seconds:
        for replica in replicas:
            count.answered(replica, now, now + took_s)
            now += took_s
    return now


def test_a_replica_counts_from_its_first_answer() -> None:
    count = ReplicaCount(1, 4)
    assert not count.answered("a", 0.0, 0.1)
    assert count.answered("b", 0.1, 0.2)
    assert count.known == 2


def test_a_replica_that_has_left_is_forgotten_within_the_window_of_work() -> None:
    count = ReplicaCount(1, 4)
    now = work(count, "ab", 0.0, 1.0)
    now = work(count, "a", now, WINDOW_S / 2)
    assert count.known == 2
    work(count, "a", now, WINDOW_S / 2 + 0.5)
    assert count.known == 1


def test_a_quiet_hour_forgets_nobody() -> None:
    count = ReplicaCount(1, 4)
    work(count, "abc", 0.0, 1.0)
    count.answered("a", 3600.0, 3600.1)
    assert count.known == 3


def test_requests_now_and_then_do_not_keep_a_replica_that_has_left() -> None:
    count = ReplicaCount(1, 4)
    work(count, "ab", 0.0, 1.0)
    for minute in range(1, 20):
        count.answered("a", 60.0 * minute, 60.0 * minute + 0.1)
    assert count.known == 1


def test_a_replica_that_takes_longer_than_the_window_to_answer_still_counts() -> None:
    count = ReplicaCount(1, 4)
    known = []
    for start in (0.0, 15.0, 30.0, 45.0):
        for replica in "ab":
            count.answered(replica, start, start + 15.0)
            known.append(count.known)
    assert known == [1] + [2] * 7


def test_a_fixed_number_stays_whatever_answers() -> None:
    count = ReplicaCount(2, 2)
    assert not any(count.answered(name, 0.0, 1.0) for name in "abcd")
    assert count.known == 2


@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 20)), max_size=60),
)
def test_the_number_stays_within_its_bounds_and_says_when_it_changes(
    least: int, more: int, answers: list[Answer]
) -> None:
    count, now = ReplicaCount(least, least + more), 0.0
    for replica, seconds in answers:
        before, sent_at, now = count.known, now, now + seconds
        assert count.answered(replica, sent_at, now) == (count.known != before)
        assert least <= count.known <= least + more
