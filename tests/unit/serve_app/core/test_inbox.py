from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.inbox import Inbox, Job
from serve_app.core.types import Priority, Slice
from tests.unit.serve_app.slices import bulk, interactive

NOW = 1000.0
PLENTY = 10**6
Taken = list[tuple[Job, int]]
MakeSlice = Callable[[int, list[int]], Slice]


def job_of(slice_: Slice) -> Job:
    return Job.of(slice_, dimensions=2, now=NOW)


def put(inbox: Inbox, *slices: Slice) -> list[Job]:
    jobs = [job_of(slice_) for slice_ in slices]
    for job in jobs:
        inbox.put(job)
    return jobs


def take(inbox: Inbox, priority: Priority, room_tokens: int = PLENTY) -> Taken:
    taken, late = inbox.take(priority, room_tokens, NOW)
    assert late == []
    return taken


def names(taken: Taken) -> list[int]:
    return [int(job.text(row)[0]) for job, row in taken]


def test_jobs_leave_in_the_order_of_their_class() -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [1, 1]), interactive(20, [1]), bulk(30, [1]), interactive(40, [1, 1]))
    assert names(take(inbox, Priority.INTERACTIVE)) == [20, 40, 41]
    assert names(take(inbox, Priority.BULK)) == [10, 11, 30]
    assert inbox.is_empty()


def test_texts_leave_until_the_room_is_used_up_and_the_rest_waits() -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [4, 4, 4]), bulk(20, [4]))
    assert names(take(inbox, Priority.BULK, room_tokens=8)) == [10, 11]
    assert inbox.waiting_tokens(Priority.BULK) == 8
    assert names(take(inbox, Priority.BULK, room_tokens=8)) == [12, 20]


@pytest.mark.parametrize("room_tokens", [0, -5])
def test_nothing_leaves_without_room(room_tokens: int) -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [1]))
    assert take(inbox, Priority.BULK, room_tokens) == []
    assert not inbox.is_empty()


def test_a_text_longer_than_the_room_leaves_all_the_same_but_alone() -> None:
    inbox = Inbox()
    put(inbox, interactive(10, [100, 1]))
    assert names(take(inbox, Priority.INTERACTIVE, room_tokens=5)) == [10]


def test_a_late_job_is_handed_back_and_none_of_its_texts_leaves() -> None:
    inbox = Inbox()
    late_job, good_job = put(inbox, interactive(10, [1, 1], timeout_s=5.0), interactive(20, [1], timeout_s=5.1))
    taken, late = inbox.take(Priority.INTERACTIVE, PLENTY, now=NOW + 5.0)
    assert (taken, late) == ([(good_job, 0)], [late_job])
    assert inbox.is_empty()


def test_a_job_that_is_late_half_way_is_handed_back_with_its_rest() -> None:
    inbox = Inbox()
    (job,) = put(inbox, bulk(10, [4, 4], timeout_s=5.0))
    assert names(take(inbox, Priority.BULK, room_tokens=1)) == [10]
    assert inbox.take(Priority.BULK, PLENTY, now=NOW + 6.0) == ([], [job])


def test_an_abandoned_job_leaves_nothing_and_counts_for_nothing() -> None:
    inbox = Inbox()
    abandoned, _ = put(inbox, bulk(10, [50], timeout_s=-1.0), bulk(20, [3]))
    inbox.abandon(abandoned)
    inbox.abandon(abandoned)
    assert inbox.waiting_tokens(Priority.BULK) == 3
    assert names(take(inbox, Priority.BULK)) == [20]
    assert inbox.is_empty()


def test_waiting_tokens_count_one_class_and_only_what_has_not_left() -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [5, 6]), interactive(20, [7]))
    assert [inbox.waiting_tokens(priority) for priority in Priority] == [7, 11]
    take(inbox, Priority.BULK, room_tokens=1)
    assert [inbox.waiting_tokens(priority) for priority in Priority] == [7, 6]


def test_a_late_job_counts_for_nothing_even_if_it_is_abandoned_afterwards() -> None:
    inbox = Inbox()
    (late_job,) = put(inbox, bulk(10, [5, 6], timeout_s=5.0))
    assert inbox.take(Priority.BULK, PLENTY, now=NOW + 6.0) == ([], [late_job])
    inbox.abandon(late_job)
    assert inbox.waiting_tokens(Priority.BULK) == 0


def test_no_more_leaves_than_the_engine_has_memory_for() -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [4, 4, 4]))
    taken, _ = inbox.take(Priority.BULK, PLENTY, NOW, held_tokens=3, capacity_tokens=11)
    assert names(taken) == [10, 11]
    taken, _ = inbox.take(Priority.BULK, PLENTY, NOW, held_tokens=11, capacity_tokens=11)
    assert taken == []
    assert inbox.waiting_tokens(Priority.BULK) == 4


def test_an_engine_that_holds_nothing_gets_one_text_even_if_it_is_too_long() -> None:
    inbox = Inbox()
    put(inbox, bulk(10, [40, 1]))
    taken, _ = inbox.take(Priority.BULK, PLENTY, NOW, held_tokens=0, capacity_tokens=11)
    assert names(taken) == [10]


def test_draining_gives_back_every_job_and_empties_the_inbox() -> None:
    inbox = Inbox()
    jobs = put(inbox, bulk(10, [5, 6]), interactive(20, [7]))
    assert set(inbox.drain()) == set(jobs)
    assert inbox.is_empty()
    assert [inbox.waiting_tokens(priority) for priority in Priority] == [0, 0]


Lengths = st.lists(st.integers(1, 20), min_size=1, max_size=5)
Put = st.tuples(st.sampled_from([bulk, interactive]), Lengths)
Take = st.tuples(st.sampled_from(list(Priority)), st.integers(-5, 40))


def play(puts: Sequence[Slice], takes: Sequence[tuple[Priority, int]]) -> tuple[list[Job], Taken, list[Taken]]:
    """Put and take in turns, then take what is left: (jobs put, all that left, what left at each take with a room)."""
    inbox, jobs, rounds = Inbox(), [], []
    for turn in range(max(len(puts), len(takes))):
        jobs += put(inbox, *puts[turn : turn + 1])
        rounds += [take(inbox, priority, room) for priority, room in takes[turn : turn + 1]]
    rest = [take(inbox, priority) for priority in Priority]
    return jobs, [text for taken in [*rounds, *rest] for text in taken], rounds


@given(st.lists(Put, max_size=8), st.lists(Take, max_size=12))
def test_no_text_is_lost_duplicated_or_overtaken_in_its_class(
    puts: list[tuple[MakeSlice, list[int]]], takes: list[tuple[Priority, int]]
) -> None:
    slices = [make(100 * index, lengths) for index, (make, lengths) in enumerate(puts)]
    jobs, left, _ = play(slices, takes)
    for priority in Priority:
        expected = [(job, row) for job in jobs if job.slice.priority is priority for row in range(job.slice.texts)]
        assert [(job, row) for job, row in left if job.slice.priority is priority] == expected


@given(st.lists(Put, max_size=8), st.lists(Take, max_size=12), st.sets(st.integers(0, 7)))
def test_waiting_tokens_are_those_of_the_jobs_in_the_queue(
    puts: list[tuple[MakeSlice, list[int]]], takes: list[tuple[Priority, int]], given_up: set[int]
) -> None:
    inbox = Inbox()
    jobs = put(inbox, *[make(100 * index, lengths) for index, (make, lengths) in enumerate(puts)])
    for turn, (priority, room) in enumerate(takes):
        for job in jobs[turn : turn + 1] if turn in given_up else []:
            inbox.abandon(job)
        take(inbox, priority, room)
        waiting = [job for job in jobs if not job.is_abandoned]
        for other in Priority:
            expected = sum(job.waiting_tokens for job in waiting if job.slice.priority is other)
            assert inbox.waiting_tokens(other) == expected


@given(st.lists(Put, max_size=8), st.lists(Take, max_size=12))
def test_what_leaves_overshoots_the_room_by_less_than_its_last_text(
    puts: list[tuple[MakeSlice, list[int]]], takes: list[tuple[Priority, int]]
) -> None:
    slices = [make(100 * index, lengths) for index, (make, lengths) in enumerate(puts)]
    _, _, rounds = play(slices, takes)
    for (_, room), taken in zip(takes, rounds, strict=True):
        assert sum(job.length(row) for job, row in taken[:-1]) < max(room, 1)
