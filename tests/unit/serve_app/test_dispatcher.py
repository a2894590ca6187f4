"""Slices of a dispatcher, on one event loop and without any replica: `send` is a function that the test answers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.errors import DeadlineExceeded, EngineFailed, Overloaded, ReplicaUnavailable
from serve_app.core.types import Priority, Slice, SliceAnswer, TokenIds, Vectors
from serve_app.dispatch.lane import Computed
from serve_app.settings import CPU_LIGHT_SLICE_TOKENS, LimitSettings
from serve_app.telemetry.metrics import QUEUE_SECONDS, QUEUE_TOKENS, SLICE_TOKENS
from tests.unit.serve_app.dispatching import (
    CLIENT,
    MODEL,
    Replica,
    Sink,
    answer_to,
    dispatcher_of,
    limits_of,
    on_a_loop,
    settle,
    start,
)
from tests.unit.serve_app.slices import FOREVER_S, right_vectors, text, texts, texts_of


@on_a_loop
async def test_an_idle_dispatcher_sends_a_text_at_once_and_alone() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    given = [text(1, 5)]
    task = asyncio.create_task(dispatcher.embed(given, Priority.INTERACTIVE, timeout_s=30.0))
    await settle()
    assert replica.sent == [[1]]
    assert replica.slices[0].priority is Priority.INTERACTIVE
    assert replica.slices[0].timeout_s == pytest.approx(30.0, abs=1.0)
    await replica.answer(0)
    np.testing.assert_array_equal((await task).vectors, right_vectors(given))


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
        np.testing.assert_array_equal((await task).vectors, right_vectors(request))


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
    task = await start(dispatcher_of(replica, limits_of(second_slice_tokens=100), replicas=9), given)
    assert replica.sent == [[1, 2], [3], [4], [5, 6]]
    for index in (3, 0, 2, 1):
        await replica.answer(index)
    np.testing.assert_array_equal((await task).vectors, right_vectors(given))


@on_a_loop
async def test_what_waits_is_shared_out_over_the_free_places_in_slices_worth_a_step() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slices_per_replica=3, second_slice_tokens=20))
    task = await start(dispatcher, texts(1, [10] * 5))
    assert replica.sent == [[1, 2], [3, 4]]
    await replica.answer(0, 1, 2)
    await task


@on_a_loop
async def test_a_large_request_shares_its_last_slice_with_the_next_request() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=3))
    tasks = [await start(dispatcher, given) for given in (texts(1, [1] * 4), texts(5, [1] * 3))]
    await replica.answer(0)
    await replica.answer(1)
    await replica.answer(2)
    assert replica.sent == [[1, 2, 3], [4, 5, 6], [7]]
    np.testing.assert_array_equal((await tasks[0]).vectors, right_vectors(texts(1, [1] * 4)))
    np.testing.assert_array_equal((await tasks[1]).vectors, right_vectors(texts(5, [1] * 3)))


@on_a_loop
async def test_a_text_without_room_in_a_slice_waits_for_the_next_one() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_tokens=10))
    tasks = [await start(dispatcher, [text(name, length)]) for name, length in ((1, 1), (2, 6), (3, 5), (4, 5))]
    await replica.answer(0)
    await replica.answer(1)
    await replica.answer(2)
    assert replica.sent == [[1], [2], [3, 4]]
    await asyncio.gather(*tasks)


@on_a_loop
async def test_no_more_slices_are_under_way_than_allowed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=2))
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
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=2))
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3, 4)]
    await replica.answer(0)
    await replica.fail(1, Overloaded("Full.", retry_after_s=2.0))
    await replica.answer(2)
    assert replica.sent == [[1], [2, 3], [4]]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Computed, Overloaded, Overloaded, Computed]


@on_a_loop
async def test_the_rest_of_a_request_is_not_sent_after_one_of_its_slices_failed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=2))
    failing = await start(dispatcher, texts(1, [1] * 6))
    other = await start(dispatcher, [text(9, 1)])
    await replica.fail(0, EngineFailed("Broken."))
    assert replica.sent == [[1, 2], [9]]
    await replica.answer(1)
    with pytest.raises(EngineFailed, match="Broken"):
        await failing
    np.testing.assert_array_equal((await other).vectors, right_vectors([text(9, 1)]))


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
async def test_a_request_whose_time_is_up_gets_deadline_exceeded_and_is_not_sent() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    first = await start(dispatcher, [text(1, 1)])
    with pytest.raises(DeadlineExceeded):
        await dispatcher.embed([text(2, 1)], Priority.INTERACTIVE, timeout_s=0.01)
    await replica.answer(0)
    await first
    assert replica.sent == [[1]]


@on_a_loop
async def test_a_slice_that_nobody_waits_for_any_more_is_cancelled_and_its_place_is_free() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=2))
    given_up = await start(dispatcher, texts(1, [1] * 6))
    other = await start(dispatcher, [text(9, 1)])
    given_up.cancel()
    await settle()
    assert replica.cancelled == [0]
    assert replica.sent == [[1, 2], [9]]
    await replica.answer(1)
    await other


@on_a_loop
async def test_a_slice_that_somebody_still_waits_for_goes_on() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3)]
    await replica.answer(0)
    tasks[1].cancel()
    await settle()
    assert replica.cancelled == []
    await replica.answer(1)
    np.testing.assert_array_equal((await tasks[2]).vectors, right_vectors([text(3, 1)]))


@on_a_loop
async def test_a_slice_is_cancelled_when_the_last_deadline_in_it_has_passed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
        await dispatcher.embed([text(1, 1)], Priority.INTERACTIVE, timeout_s=0.01)
    await settle()
    assert replica.cancelled == [0]


@on_a_loop
async def test_a_shorter_deadline_that_comes_later_is_kept_and_the_longer_one_too() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    waiting = [await start(dispatcher, [text(name, 1)], timeout_s) for name, timeout_s in ((1, 0.05), (2, 0.01))]
    last = await start(dispatcher, [text(3, 1)])
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert done == {waiting[1]}
    await asyncio.wait(waiting)
    await settle()
    assert [type(task.exception()) for task in waiting] == [DeadlineExceeded, DeadlineExceeded]
    await replica.answer(1)
    await last


@on_a_loop
async def test_the_other_slices_of_a_failed_request_are_cancelled() -> None:
    replica = Replica()
    failing = await start(dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=2)), texts(1, [1, 1, 1]))
    await replica.fail(0, EngineFailed("Broken."))
    assert replica.sent == [[1], [2]]
    assert replica.cancelled == [1]
    with pytest.raises(EngineFailed, match="Broken"):
        await failing


@on_a_loop
async def test_bulk_has_places_of_its_own_and_interactive_slices_leave_first() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1))
    tasks = [
        asyncio.create_task(dispatcher.embed(texts(1, [1, 1]), Priority.BULK, FOREVER_S)),
        asyncio.create_task(dispatcher.embed(texts(5, [1, 1]), Priority.INTERACTIVE, FOREVER_S)),
    ]
    await settle()
    assert replica.sent == [[5], [1]]
    assert [slice_.priority for slice_ in replica.slices] == [Priority.INTERACTIVE, Priority.BULK]
    await replica.answer(1)
    assert replica.sent == [[5], [1], [2]]
    await replica.answer(0, 2, 3)
    np.testing.assert_array_equal((await tasks[0]).vectors, right_vectors(texts(1, [1, 1])))
    np.testing.assert_array_equal((await tasks[1]).vectors, right_vectors(texts(5, [1, 1])))


@on_a_loop
async def test_one_text_overtakes_a_request_of_2048_texts() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_tokens=8192, slice_texts=256))
    large = await start(dispatcher, texts(1, [30] * 2048))
    single = await start(dispatcher, [text(9999, 30)])
    assert [len(names) for names in replica.sent] == [256]
    await replica.answer(0)
    assert 9999 in replica.sent[1]
    assert len(replica.sent[1]) == 256
    await replica.answer(1)
    assert single.done()
    await replica.answer(*range(2, 9))
    np.testing.assert_array_equal((await large).vectors, right_vectors(texts(1, [30] * 2048)))


@on_a_loop
async def test_replicas_of_different_versions_in_one_answer_leave_it_without_a_fingerprint() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=3))
    mixed = await start(dispatcher, texts(1, [1, 1, 1]))
    for index, fingerprint in enumerate(("v1", "v2", "v1")):
        await replica.answer(index, fingerprint=fingerprint)
    assert (await mixed).fingerprint is None
    same = await start(dispatcher, texts(1, [1, 1]))
    await replica.answer(3, 4, fingerprint="v2")
    assert (await same).fingerprint == "v2"


@on_a_loop
async def test_queues_and_slices_are_recorded_with_their_class() -> None:
    replica, sink = Replica(), Sink()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1), sink=sink)
    task = await start(dispatcher, texts(1, [5, 7]), priority=Priority.BULK)
    await replica.answer(0, 1)
    await task
    labels = (MODEL, "bulk")
    assert sink.of(SLICE_TOKENS) == [(5, labels), (7, labels)]
    assert [recorded[1] for recorded in sink.of(QUEUE_SECONDS)] == [labels, labels]
    gauges = [value for value, of in sink.of(QUEUE_TOKENS) if of == labels]
    assert gauges == [7, 0]  # the last one at once: nothing might follow an empty queue


class JitteryReplica(Replica):
    """Answers by itself, each slice after a number of turns of the loop that hypothesis chose."""

    def __init__(self, turns: list[int]) -> None:
        super().__init__()
        self._turns = turns
        self._under_way = dict.fromkeys(Priority, 0)
        self.most_under_way = 0

    async def send(self, slice_: Slice) -> SliceAnswer:
        self._under_way[slice_.priority] += 1
        self.most_under_way = max(self.most_under_way, *self._under_way.values())
        self.slices.append(slice_)
        for _ in range(self._turns[len(self.slices) % len(self._turns)]):
            await asyncio.sleep(0)
        self._under_way[slice_.priority] -= 1
        return answer_to(slice_)


def named_requests(sizes: list[list[int]]) -> list[list[TokenIds]]:
    return [texts(1000 * index, lengths) for index, lengths in enumerate(sizes, start=1)]


@given(
    sizes=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=8),
    priorities=st.lists(st.sampled_from(Priority), min_size=8, max_size=8),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    slice_tokens=st.integers(1, 40),
    slice_texts=st.integers(1, 5),
    slices_per_replica=st.integers(1, 4),
)
def test_any_interleaving_gives_each_request_its_own_vectors_in_order(
    sizes: list[list[int]],
    priorities: list[Priority],
    turns: list[int],
    slice_tokens: int,
    slice_texts: int,
    slices_per_replica: int,
) -> None:
    replica = JitteryReplica(turns)
    requests = named_requests(sizes)

    async def embed_all() -> list[Vectors]:
        dispatcher = dispatcher_of(replica, limits_of(slice_tokens, slice_texts, slices_per_replica))
        given = zip(requests, priorities, strict=False)
        answers = await asyncio.gather(*(dispatcher.embed(texts, priority, FOREVER_S) for texts, priority in given))
        return [answer.vectors for answer in answers]

    for request, vectors in zip(requests, asyncio.run(embed_all()), strict=True):
        np.testing.assert_array_equal(vectors, right_vectors(request))
    sent = [int(ids[0]) for slice_ in replica.slices for ids in texts_of(slice_)]
    assert sorted(sent) == sorted(int(ids[0]) for request in requests for ids in request)
    assert all(slice_.texts <= slice_texts for slice_ in replica.slices)
    assert all(slice_.tokens <= slice_tokens or slice_.texts == 1 for slice_ in replica.slices)
    assert replica.most_under_way <= slices_per_replica


@on_a_loop
async def test_few_texts_wait_for_the_slice_under_way_and_then_leave_together() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slices_per_replica=2, second_slice_tokens=6))
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


@on_a_loop
async def test_an_engine_of_light_steps_gets_a_second_slice_nearly_as_large_as_the_one_it_computes() -> None:
    replica = Replica()
    limits = limits_of(slices_per_replica=2, second_slice_tokens=100, light_slice_tokens=4)
    dispatcher = dispatcher_of(replica, limits)
    tasks = [await start(dispatcher, [text(1, 20)]), await start(dispatcher, [text(2, 14)])]
    assert replica.sent == [[1]]  # 14 tokens are less than three quarters of 20
    tasks.append(await start(dispatcher, [text(3, 1)]))
    assert replica.sent == [[1], [2, 3]]
    await replica.answer(0, 1)
    await asyncio.gather(*tasks)


@on_a_loop
async def test_an_engine_of_light_steps_still_waits_for_more_than_a_handful_of_tokens() -> None:
    replica = Replica()
    limits = limits_of(slices_per_replica=2, second_slice_tokens=100, light_slice_tokens=10)
    dispatcher = dispatcher_of(replica, limits)
    tasks = [await start(dispatcher, [text(name, 4)]) for name in (1, 2, 3)]
    assert replica.sent == [[1]]
    tasks.append(await start(dispatcher, [text(4, 4)]))
    assert replica.sent == [[1], [2, 3, 4]]
    await replica.answer(0, 1)
    await asyncio.gather(*tasks)


def test_steps_are_light_without_a_gpu_and_what_was_set_wins() -> None:
    assert LimitSettings().of_engine(on_gpu=True).light_slice_tokens is None
    assert LimitSettings().of_engine(on_gpu=False).light_slice_tokens == CPU_LIGHT_SLICE_TOKENS
    assert LimitSettings(light_slice_tokens=7).of_engine(on_gpu=False).light_slice_tokens == 7


@on_a_loop
async def test_what_comes_at_once_is_shared_out_for_an_engine_of_light_steps() -> None:
    replica = Replica()
    limits = limits_of(slices_per_replica=2, second_slice_tokens=100, light_slice_tokens=10)
    task = await start(dispatcher_of(replica, limits), texts(1, [5] * 6))
    assert replica.sent == [[1, 2, 3], [4, 5, 6]]
    await replica.answer(0, 1)
    await task


@on_a_loop
async def test_a_slice_does_not_leave_in_the_context_of_the_request_that_caused_it() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    CLIENT.set("somebody")
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3)]  # 2 and 3 leave when 1 lands
    await replica.answer(0, 1)
    await asyncio.gather(*tasks)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (4, 5)]
    tasks[0].cancel()  # frees its place
    await settle()
    await replica.answer(3)
    await tasks[1]
    assert replica.sent == [[1], [2, 3], [4], [5]]
    assert replica.clients == ["nobody"] * 4
