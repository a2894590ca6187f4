"""Texts that are not computed twice. A vector belongs to the ids of its text, so rows that are mixed up show."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.cache import ENTRY_OVERHEAD_BYTES
from serve_app.core.errors import DeadlineExceeded, EngineFailed, ReplicaUnavailable
from serve_app.core.types import Priority, TokenIds
from serve_app.dispatch.vector_source import CacheMode, Embedded, VectorSource
from serve_app.telemetry.metrics import CACHE_BYTES, CACHE_HITS, CACHE_MISSES
from tests.unit.serve_app.dispatching import MODEL, Replica, Sink, dispatcher_of, limits_of, on_a_loop, settle
from tests.unit.serve_app.slices import FOREVER_S, right_vectors, text, texts

ROW_BYTES = 8 * 4 + ENTRY_OVERHEAD_BYTES


def source_of(replica: Replica, cache_bytes: int = 100 * ROW_BYTES, sink: Sink | None = None) -> VectorSource:
    """What waits leaves at once, in slices of at most 100 tokens and 8 texts."""
    dispatcher = dispatcher_of(replica, limits_of(second_slice_tokens=100), replicas=99)
    return VectorSource(dispatcher, cache_bytes, MODEL, sink or Sink())


async def ask(
    source: VectorSource,
    given: list[TokenIds],
    priority: Priority = Priority.INTERACTIVE,
    timeout_s: float = FOREVER_S,
    cache_mode: CacheMode = "use",
) -> asyncio.Task[Embedded]:
    task = asyncio.create_task(source.embed(given, priority, timeout_s, cache_mode))
    await settle()
    return task


async def expect(task: asyncio.Task[Embedded], given: Sequence[TokenIds], computed_texts: int) -> None:
    embedded = await task
    np.testing.assert_array_equal(embedded.vectors, right_vectors(given))
    assert embedded.computed_texts == computed_texts


@on_a_loop
async def test_a_text_is_computed_once_and_then_found() -> None:
    replica, sink = Replica(), Sink()
    source = source_of(replica, sink=sink)
    first = await ask(source, [text(1, 5)])
    await replica.answer(0)
    await expect(first, [text(1, 5)], computed_texts=1)
    await expect(await ask(source, [text(1, 5)]), [text(1, 5)], computed_texts=0)
    assert replica.sent == [[1]]
    assert sink.of(CACHE_MISSES) == [(1, (MODEL,))]
    assert sink.of(CACHE_HITS) == [(1, (MODEL, "stored"))]
    assert sink.of(CACHE_BYTES) == [
        (ROW_BYTES, (MODEL,))
    ]  # not sooner than it matters, but a vector is a hundredth here


@on_a_loop
async def test_only_the_new_texts_of_a_request_are_computed_and_all_come_in_order() -> None:
    replica, sink = Replica(), Sink()
    source = source_of(replica, sink=sink)
    await ask(source, texts(2, [5, 5]))
    await replica.answer(0)
    mixed = await ask(source, texts(1, [5, 5, 5, 5]))
    assert replica.sent == [[2, 3], [1, 4]]
    await replica.answer(1)
    await expect(mixed, texts(1, [5, 5, 5, 5]), computed_texts=2)
    assert sink.of(CACHE_HITS) == [(2, (MODEL, "stored"))]
    assert [value for value, _ in sink.of(CACHE_MISSES)] == [2, 2]


@on_a_loop
async def test_a_text_twice_in_a_request_is_computed_once() -> None:
    replica = Replica()
    given = [text(1, 5), text(2, 5), text(1, 5)]
    task = await ask(source_of(replica), given)
    await replica.answer(0)
    await expect(task, given, computed_texts=2)
    assert replica.sent == [[1, 2]]


@on_a_loop
async def test_a_text_in_flight_is_computed_once() -> None:
    replica, sink = Replica(), Sink()
    source = source_of(replica, sink=sink)
    leader = await ask(source, texts(1, [5, 5]))
    follower = await ask(source, texts(2, [5, 5]))
    assert replica.sent == [[1, 2], [3]]
    await replica.answer(1)
    assert not follower.done()
    await replica.answer(0)
    await expect(leader, texts(1, [5, 5]), computed_texts=2)
    await expect(follower, texts(2, [5, 5]), computed_texts=1)
    assert (1, (MODEL, "in_flight")) in sink.of(CACHE_HITS)


@pytest.mark.parametrize(("sizes", "sent"), [([60, 60], [[1], [2], [1]]), ([1] * 9, [[*range(1, 9)], [9], [1]])])
def test_a_short_request_does_not_wait_for_one_of_several_slices(sizes: list[int], sent: list[list[int]]) -> None:
    @on_a_loop
    async def run() -> None:
        replica = Replica()
        source = source_of(replica)
        large = await ask(source, [*texts(1, sizes), text(1, sizes[0])])
        short = await ask(source, [text(1, sizes[0])])
        assert replica.sent == sent
        await replica.answer(2)
        await expect(short, [text(1, sizes[0])], computed_texts=1)
        assert not large.done()
        await replica.answer(0, 1)
        await expect(large, [*texts(1, sizes), text(1, sizes[0])], computed_texts=len(sizes))

    run()


@on_a_loop
async def test_a_request_that_exactly_fills_a_slice_is_shared() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, texts(1, [13, 13, 13, 13, 12, 12, 12, 12]))
    follower = await ask(source, [text(3, 13)])
    assert len(replica.sent) == 1
    await replica.answer(0)
    await expect(follower, [text(3, 13)], computed_texts=0)
    await leader


@on_a_loop
async def test_two_requests_that_follow_each_other_both_end() -> None:
    replica = Replica()
    source = source_of(replica)
    first = await ask(source, [text(1, 5)])
    second = await ask(source, [text(2, 5), text(1, 5)])
    third = await ask(source, [text(1, 5), text(2, 5)])
    await replica.answer(1, 0)
    await expect(first, [text(1, 5)], computed_texts=1)
    await expect(second, [text(2, 5), text(1, 5)], computed_texts=1)
    await expect(third, [text(1, 5), text(2, 5)], computed_texts=0)


@on_a_loop
async def test_a_follower_of_a_cancelled_leader_computes_for_itself() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, [text(1, 5)])
    followers = [await ask(source, [text(1, 5)]) for _ in range(2)]
    leader.cancel()
    await settle()
    assert replica.cancelled == [0]
    assert replica.sent == [[1], [1, 1]]
    await replica.answer(1)
    for follower in followers:
        await expect(follower, [text(1, 5)], computed_texts=1)


@on_a_loop
async def test_a_follower_of_a_failed_leader_computes_for_itself() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, [text(1, 5)])
    follower = await ask(source, texts(1, [5, 5]))
    await replica.answer(1)
    await replica.fail(0, EngineFailed("Broken."))
    assert replica.sent == [[1], [2], [1]]
    await replica.answer(2)
    await expect(follower, texts(1, [5, 5]), computed_texts=2)
    with pytest.raises(EngineFailed):
        await leader


@on_a_loop
async def test_a_faulty_text_fails_those_who_ask_for_it_and_is_neither_kept_nor_given_to_others() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, texts(1, [5, 5]))
    innocent, guilty = await ask(source, [text(1, 5)]), await ask(source, texts(2, [5, 5]))
    await replica.answer(1)
    await replica.answer_with_faulty(0, 2)
    assert replica.sent == [[1, 2], [3], [1, 2]]
    await replica.answer_with_faulty(2, 2)
    await expect(innocent, [text(1, 5)], computed_texts=1)
    for task in (leader, guilty):
        with pytest.raises(EngineFailed, match="for an input of this request"):
            await task
    again = await ask(source, [text(2, 5)])
    await replica.answer(3)
    await expect(again, [text(2, 5)], computed_texts=1)


@on_a_loop
async def test_a_leader_whose_time_is_up_does_not_take_its_follower_along() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, [text(1, 5)], timeout_s=1.0)
    follower = await ask(source, [text(1, 5)], timeout_s=30.0)
    with pytest.raises(DeadlineExceeded):
        await leader
    await settle()
    await replica.answer(1)
    await expect(follower, [text(1, 5)], computed_texts=1)


@on_a_loop
async def test_a_follower_has_its_own_deadline_and_its_leader_does_not_notice() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, [text(1, 5)])
    follower = await ask(source, [text(1, 5)], timeout_s=0.5)
    with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
        await follower
    await replica.answer(0)
    await expect(leader, [text(1, 5)], computed_texts=1)


@on_a_loop
async def test_a_failed_text_is_not_in_flight_for_ever() -> None:
    replica = Replica()
    source = source_of(replica)
    failing = await ask(source, [text(1, 5)])
    await replica.fail(0, EngineFailed("Broken."))
    with pytest.raises(EngineFailed):
        await failing
    again = await ask(source, [text(1, 5)])
    await replica.answer(1)
    await expect(again, [text(1, 5)], computed_texts=1)


@on_a_loop
async def test_bulk_finds_what_is_stored_but_stores_nothing() -> None:
    replica = Replica()
    source = source_of(replica)
    await ask(source, [text(1, 5)])
    await replica.answer(0)
    bulk = await ask(source, texts(1, [5, 5]), Priority.BULK)
    assert replica.sent == [[1], [2]]
    await replica.answer(1)
    await expect(bulk, texts(1, [5, 5]), computed_texts=1)
    await ask(source, [text(2, 5)])
    assert replica.sent == [[1], [2], [2]]


@on_a_loop
async def test_an_interactive_text_does_not_wait_for_bulk_but_bulk_waits_for_it() -> None:
    replica = Replica()
    source = source_of(replica)
    bulk = await ask(source, [text(1, 5)], Priority.BULK)
    interactive = await ask(source, [text(1, 5)])
    later = await ask(source, [text(1, 5)], Priority.BULK)
    assert replica.sent == [[1], [1]]
    await replica.answer(1)
    await expect(interactive, [text(1, 5)], computed_texts=1)
    await expect(later, [text(1, 5)], computed_texts=0)
    await replica.answer(0)
    await expect(bulk, [text(1, 5)], computed_texts=1)


@on_a_loop
async def test_bypass_neither_finds_nor_stores_nor_shares() -> None:
    replica, sink = Replica(), Sink()
    source = source_of(replica, sink=sink)
    stored = await ask(source, [text(1, 5)])
    await replica.answer(0)
    await stored
    sink.recorded.clear()
    bypassing = [await ask(source, [text(name, 5)], cache_mode="bypass") for name in (1, 2, 2)]
    leader = await ask(source, [text(2, 5)])
    assert replica.sent == [[1], [1], [2], [2], [2]]
    await replica.answer(1, 2, 3)
    for task, name in zip(bypassing, (1, 2, 2), strict=True):
        await expect(task, [text(name, 5)], computed_texts=1)
    assert [value for value, _ in sink.of(CACHE_MISSES)] == [1]
    await replica.answer(4)
    await leader


@on_a_loop
async def test_without_a_cache_nothing_is_shared_or_recorded() -> None:
    replica, sink = Replica(), Sink()
    source = source_of(replica, cache_bytes=0, sink=sink)
    tasks = [await ask(source, [text(1, 5)]) for _ in range(2)]
    await replica.answer(0, 1)
    for task in tasks:
        await expect(task, [text(1, 5)], computed_texts=1)
    assert sink.of(CACHE_MISSES) == sink.of(CACHE_HITS) == sink.of(CACHE_BYTES) == []


@on_a_loop
async def test_a_new_version_empties_the_cache() -> None:
    replica = Replica()
    source = source_of(replica)
    await ask(source, [text(1, 5)])
    await replica.answer(0, fingerprint="v1")
    await ask(source, [text(2, 5)])
    await replica.answer(1, fingerprint="v2")
    again = await ask(source, [text(1, 5)])
    await replica.answer(2, fingerprint="v2")
    await expect(again, [text(1, 5)], computed_texts=1)
    await expect(await ask(source, texts(1, [5, 5])), texts(1, [5, 5]), computed_texts=0)


@on_a_loop
async def test_a_stored_vector_is_not_mixed_with_one_of_a_new_version() -> None:
    replica = Replica()
    source = source_of(replica)
    await ask(source, [text(1, 5)])
    await replica.answer(0, fingerprint="v1")
    mixed = await ask(source, texts(1, [5, 5]))
    await replica.answer(1, fingerprint="v2")
    assert replica.sent == [[1], [2], [1, 2]]
    await replica.answer(2, fingerprint="v2")
    await expect(mixed, texts(1, [5, 5]), computed_texts=2)


@on_a_loop
async def test_a_vector_of_another_request_is_not_mixed_with_one_of_a_new_version() -> None:
    replica = Replica()
    source = source_of(replica)
    leader = await ask(source, [text(1, 5)])
    follower = await ask(source, texts(1, [5, 5]))
    await replica.answer(0, fingerprint="v1")
    await replica.answer(1, fingerprint="v2")
    assert replica.sent == [[1], [2], [1, 2]]
    await replica.answer(2, fingerprint="v2")
    await expect(leader, [text(1, 5)], computed_texts=1)
    await expect(follower, texts(1, [5, 5]), computed_texts=2)


@pytest.mark.parametrize("cache_mode", ["use", "bypass"])
def test_an_answer_of_two_versions_is_computed_once_more_and_then_refused(cache_mode: CacheMode) -> None:
    @on_a_loop
    async def run() -> None:
        replica = Replica()
        task = await ask(source_of(replica), texts(1, [60, 60]), cache_mode=cache_mode)  # two slices
        for index in range(4):
            await replica.answer(index, fingerprint=f"v{index % 2}")
        with pytest.raises(ReplicaUnavailable, match="two versions"):
            await task
        assert replica.sent == [[1], [2], [1], [2]]

    run()


Requests = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=8)


@given(
    named=Requests,
    bulk=st.sets(st.integers(0, 7)),
    bypassing=st.sets(st.integers(0, 7)),
    cache_rows=st.integers(0, 4),
    answered=st.lists(st.integers(0, 7), max_size=8),
)
def test_whatever_is_shared_each_request_gets_its_own_vectors(
    named: list[list[int]], bulk: set[int], bypassing: set[int], cache_rows: int, answered: list[int]
) -> None:
    """`answered` slices come back while requests still arrive; the rest come back afterwards."""

    @on_a_loop
    async def run() -> None:
        replica = Replica()
        source = source_of(replica, cache_rows * ROW_BYTES)
        tasks = []
        for index, names in enumerate(named):
            cache_mode: CacheMode = "bypass" if index in bypassing else "use"
            request = [text(name, 3) for name in names]
            tasks.append(await ask(source, request, Priority(index in bulk), cache_mode=cache_mode))
            await replica.answer_waiting(answered[index : index + 1])
        await replica.answer_waiting(range(len(replica.slices)))
        for task, names in zip(tasks, named, strict=True):
            np.testing.assert_array_equal((await task).vectors, right_vectors([text(name, 3) for name in names]))

    run()
