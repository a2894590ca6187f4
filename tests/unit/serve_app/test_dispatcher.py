"""Slices of a dispatcher, on one event loop and without any replica: `send` is a function that the test answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.errors import EngineFailed, Overloaded, ReplicaUnavailable
from serve_app.core.types import Priority, Slice, TokenIds, Vectors
from serve_app.dispatcher import SliceDispatcher
from serve_app.settings import LimitSettings
from tests.unit.serve_app.slices import FOREVER_S, names_of, right_vectors, text, texts, texts_of


class Replica:
    """Takes slices and answers each of them when the test says so."""

    def __init__(self) -> None:
        self.slices: list[Slice] = []
        self._answers: list[asyncio.Future[Vectors]] = []

    async def send(self, slice_: Slice) -> Vectors:
        self.slices.append(slice_)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    @property
    def sent(self) -> list[list[int]]:
        """The names of the texts of each slice so far."""
        return [names_of(slice_) for slice_ in self.slices]

    async def answer(self, index: int) -> None:
        self._answers[index].set_result(right_vectors(texts_of(self.slices[index])))
        await settle()

    async def fail(self, index: int, error: Exception) -> None:
        self._answers[index].set_exception(error)
        await settle()

    async def cancel(self, index: int) -> None:
        self._answers[index].cancel()
        await settle()


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def start(
    dispatcher: SliceDispatcher, given: list[TokenIds], timeout_s: float = FOREVER_S
) -> asyncio.Task[Vectors]:
    task = asyncio.create_task(dispatcher.embed(given, timeout_s))
    await settle()
    return task


def dispatcher_of(
    replica: Replica,
    slice_tokens: int = 100,
    slice_texts: int = 8,
    slices_in_flight: int = 1,
    second_slice_tokens: int = 1,
) -> SliceDispatcher:
    """A dispatcher of one replica for which any second slice is worth sending, unless the test says otherwise."""
    limits = LimitSettings.model_construct(
        slice_tokens=slice_tokens,
        slice_texts=slice_texts,
        slices_per_replica=slices_in_flight,
        second_slice_tokens=second_slice_tokens,
    )
    return SliceDispatcher(replica.send, limits, replicas=1)


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test on an event loop in which no callback may fail: asyncio would only log that."""
    failures: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await test()

    @wraps(test)
    def run() -> None:
        asyncio.run(watched())
        assert failures == []

    return run


@on_a_loop
async def test_an_idle_dispatcher_sends_a_text_at_once_and_alone() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    given = [text(1, 5)]
    task = asyncio.create_task(dispatcher.embed(given, timeout_s=30.0))
    await settle()
    assert replica.sent == [[1]]
    assert replica.slices[0].priority is Priority.INTERACTIVE
    assert replica.slices[0].timeout_s == pytest.approx(30.0, abs=1.0)
    await replica.answer(0)
    np.testing.assert_array_equal(await task, right_vectors(given))


@on_a_loop
async def test_texts_that_come_while_the_replica_is_busy_join_one_slice() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    given = [[text(1, 5)], [text(2, 5)], texts(3, [5, 5]), [text(5, 5)]]
    tasks = [await start(dispatcher, request) for request in given]
    assert replica.sent == [[1]]
    await replica.answer(0)
    assert replica.sent == [[1], [2, 3, 4, 5]]
    await replica.answer(1)
    for task, request in zip(tasks, given, strict=True):
        np.testing.assert_array_equal(await task, right_vectors(request))


@on_a_loop
async def test_the_slice_lives_as_long_as_its_most_patient_request() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [
        await start(dispatcher, [text(name, 5)], timeout_s) for name, timeout_s in ((1, 9.0), (2, 20.0), (3, 40.0))
    ]
    await replica.answer(0)
    assert replica.slices[1].timeout_s == pytest.approx(40.0, abs=1.0)
    await replica.answer(1)
    await asyncio.gather(*tasks)


@on_a_loop
async def test_a_request_larger_than_a_slice_comes_back_whole_and_in_order() -> None:
    replica = Replica()
    given = texts(1, [40, 40, 40, 150, 10, 10])
    task = await start(dispatcher_of(replica, slices_in_flight=9), given)
    assert replica.sent == [[1, 2], [3], [4], [5, 6]]
    for index in (3, 0, 2, 1):
        await replica.answer(index)
    np.testing.assert_array_equal(await task, right_vectors(given))


@on_a_loop
async def test_a_large_request_shares_its_last_slice_with_the_next_request() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_texts=3)
    tasks = [await start(dispatcher, given) for given in (texts(1, [1] * 4), texts(5, [1] * 3))]
    await replica.answer(0)
    await replica.answer(1)
    await replica.answer(2)
    assert replica.sent == [[1, 2, 3], [4, 5, 6], [7]]
    np.testing.assert_array_equal(await tasks[0], right_vectors(texts(1, [1] * 4)))
    np.testing.assert_array_equal(await tasks[1], right_vectors(texts(5, [1] * 3)))


@on_a_loop
async def test_a_text_without_room_in_a_slice_waits_for_the_next_one() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_tokens=10)
    tasks = [await start(dispatcher, [text(name, length)]) for name, length in ((1, 1), (2, 6), (3, 5), (4, 5))]
    await replica.answer(0)
    await replica.answer(1)
    await replica.answer(2)
    assert replica.sent == [[1], [2], [3, 4]]
    await asyncio.gather(*tasks)


@on_a_loop
async def test_no_more_slices_are_under_way_than_allowed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_texts=1, slices_in_flight=2)
    task = await start(dispatcher, texts(1, [1] * 5))
    assert replica.sent == [[1], [2]]
    await replica.answer(1)
    assert replica.sent == [[1], [2], [3]]
    for index in (0, 2, 3, 4):
        await replica.answer(index)
    await task


@on_a_loop
async def test_an_error_reaches_every_request_of_its_slice_and_no_other() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_texts=2)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3, 4)]
    await replica.answer(0)
    await replica.fail(1, Overloaded("Full.", retry_after_s=2.0))
    await replica.answer(2)
    assert replica.sent == [[1], [2, 3], [4]]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [np.ndarray, Overloaded, Overloaded, np.ndarray]


@on_a_loop
async def test_the_rest_of_a_request_is_not_sent_after_one_of_its_slices_failed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_texts=2)
    failing = await start(dispatcher, texts(1, [1] * 6))
    other = await start(dispatcher, [text(9, 1)])
    await replica.fail(0, EngineFailed("Broken."))
    assert replica.sent == [[1, 2], [9]]
    await replica.answer(1)
    with pytest.raises(EngineFailed, match="Broken"):
        await failing
    np.testing.assert_array_equal(await other, right_vectors([text(9, 1)]))


@on_a_loop
async def test_a_slice_that_fails_and_one_that_arrives_later_leave_the_request_failed() -> None:
    replica = Replica()
    failing = await start(dispatcher_of(replica, slice_texts=1, slices_in_flight=2), texts(1, [1, 1]))
    await replica.fail(0, EngineFailed("Broken."))
    await replica.answer(1)
    with pytest.raises(EngineFailed, match="Broken"):
        await failing


@on_a_loop
async def test_a_cancelled_hop_is_a_replica_that_went_away_and_the_queue_moves_on() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2)]
    await replica.cancel(0)
    assert replica.sent == [[1], [2]]
    await replica.answer(1)
    with pytest.raises(ReplicaUnavailable) as caught:
        await tasks[0]
    assert caught.value.retry_after_s == 1.0
    await tasks[1]


@on_a_loop
async def test_a_request_that_gave_up_is_not_sent() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3)]
    tasks[1].cancel()
    await settle()
    await replica.answer(0)
    assert replica.sent == [[1], [3]]
    await replica.answer(1)
    await tasks[2]


@on_a_loop
async def test_the_rest_of_a_request_that_gave_up_half_way_is_not_sent() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slice_texts=2)
    given_up = await start(dispatcher, texts(1, [1] * 6))
    other = await start(dispatcher, [text(9, 1)])
    given_up.cancel()
    await settle()
    await replica.answer(0)
    assert replica.sent == [[1, 2], [9]]
    await replica.answer(1)
    await other


@on_a_loop
async def test_nothing_is_sent_when_everybody_gave_up() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3)]
    for task in tasks[1:]:
        task.cancel()
    await settle()
    await replica.answer(0)
    assert replica.sent == [[1]]
    late = await start(dispatcher, [text(4, 1)])
    assert replica.sent == [[1], [4]]
    await replica.answer(1)
    await late


@on_a_loop
async def test_a_request_whose_time_is_up_raises_timeout_error_and_is_not_sent() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    first = await start(dispatcher, [text(1, 1)])
    with pytest.raises(TimeoutError):
        await dispatcher.embed([text(2, 1)], timeout_s=0.01)
    await replica.answer(0)
    await first
    assert replica.sent == [[1]]


@on_a_loop
async def test_an_error_that_nobody_waits_for_any_more_is_dropped() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2)]
    tasks[0].cancel()
    await settle()
    await replica.fail(0, EngineFailed("Broken."))
    assert replica.sent == [[1], [2]]
    await replica.answer(1)
    await tasks[1]


@on_a_loop
async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    with pytest.raises(TimeoutError):
        await dispatcher.embed([text(1, 1)], timeout_s=0.01)
    await replica.answer(0)
    again = await start(dispatcher, [text(2, 1)])
    await replica.answer(1)
    np.testing.assert_array_equal(await again, right_vectors([text(2, 1)]))


class JitteryReplica(Replica):
    """Answers by itself, each slice after a number of turns of the loop that hypothesis chose."""

    def __init__(self, turns: list[int]) -> None:
        super().__init__()
        self._turns = turns
        self._under_way = 0
        self.most_under_way = 0

    async def send(self, slice_: Slice) -> Vectors:
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        self.slices.append(slice_)
        for _ in range(self._turns[len(self.slices) % len(self._turns)]):
            await asyncio.sleep(0)
        self._under_way -= 1
        return right_vectors(texts_of(slice_))


def named_requests(sizes: list[list[int]]) -> list[list[TokenIds]]:
    return [texts(1000 * index, lengths) for index, lengths in enumerate(sizes, start=1)]


@given(
    sizes=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=8),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    slice_tokens=st.integers(1, 40),
    slice_texts=st.integers(1, 5),
    slices_in_flight=st.integers(1, 4),
)
def test_requests_of_any_size_come_back_right_and_slices_respect_their_bounds(
    sizes: list[list[int]], turns: list[int], slice_tokens: int, slice_texts: int, slices_in_flight: int
) -> None:
    replica = JitteryReplica(turns)
    requests = named_requests(sizes)

    async def embed_all() -> list[Vectors]:
        dispatcher = dispatcher_of(replica, slice_tokens, slice_texts, slices_in_flight)
        return await asyncio.gather(*(dispatcher.embed(request, FOREVER_S) for request in requests))

    for request, vectors in zip(requests, asyncio.run(embed_all()), strict=True):
        np.testing.assert_array_equal(vectors, right_vectors(request))
    assert [name for names in replica.sent for name in names] == [
        int(ids[0]) for request in requests for ids in request
    ]
    assert all(slice_.texts <= slice_texts for slice_ in replica.slices)
    assert all(slice_.tokens <= slice_tokens or slice_.texts == 1 for slice_ in replica.slices)
    assert replica.most_under_way <= slices_in_flight


@on_a_loop
async def test_few_texts_wait_for_the_slice_under_way_and_then_leave_together() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, slices_in_flight=2, second_slice_tokens=6)
    tasks = [await start(dispatcher, [text(1, 3)]), await start(dispatcher, [text(2, 3)])]
    assert replica.sent == [[1]]
    tasks.append(await start(dispatcher, [text(3, 3)]))  # now six tokens wait
    assert replica.sent == [[1], [2, 3]]
    tasks.append(await start(dispatcher, [text(4, 3)]))
    await replica.answer(0)
    assert replica.sent == [[1], [2, 3]]
    await replica.answer(1)
    assert replica.sent == [[1], [2, 3], [4]]
    await replica.answer(2)
    await asyncio.gather(*tasks)
