"""A dispatcher over a number of replicas that changes, down to none at all."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serve_app.core.errors import DeadlineExceeded, Overloaded, ReplicaUnavailable
from serve_app.core.replica_count import WINDOW_S, ReplicaCount
from serve_app.core.types import Priority
from serve_app.dispatch.availability import ReplicaGate
from tests.unit.serve_app.dispatching import (
    MODEL,
    Probe,
    Replica,
    answer_to,
    dispatcher_of,
    limits_of,
    on_a_loop,
    settle,
    start,
)
from tests.unit.serve_app.slices import FOREVER_S, right_vectors, text, texts


def sleepy_gate(probe: Probe, start_s: float = 30.0) -> ReplicaGate:
    return ReplicaGate(probe.describe, MODEL, may_sleep=True, start_s=start_s)


@on_a_loop
async def test_places_grow_with_the_replicas_that_answer() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=2), ReplicaCount(1, 3))
    task = await start(dispatcher, texts(1, [1] * 12))
    assert len(replica.sent) == 2
    await replica.answer_with(0, answer_to(replica.slices[0], replica="a"))
    assert len(replica.sent) == 3
    await replica.answer_with(1, answer_to(replica.slices[1], replica="b"))
    assert len(replica.sent) == 6  # two answered, four are under way
    await replica.answer(*range(2, 6))
    await replica.answer_waiting(range(6, 12))
    await replica.answer_waiting(range(6, 12))
    await task


@on_a_loop
async def test_a_replica_that_has_left_takes_its_places_and_its_part_of_the_queue_with_it() -> None:
    replica = Replica()
    limits = limits_of(slice_texts=1, max_queued_tokens=1024)
    dispatcher = dispatcher_of(replica, limits, ReplicaCount(1, 2))
    first = await start(dispatcher, texts(1, [1] * 2))
    for index, name in enumerate("ab"):
        await replica.answer_with(index, answer_to(replica.slices[index], replica=name))
    await first
    waiting = [await start(dispatcher, [text(name, 300)]) for name in range(10, 18)]
    assert len(replica.sent) == 4  # so 6 requests, 1,800 tokens, wait: more than one replica's part
    with pytest.raises(Overloaded, match="limit is 2048"):
        await dispatcher.embed([text(99, 300)], Priority.INTERACTIVE, FOREVER_S)
    for index in range(2, 10):
        await asyncio.sleep(WINDOW_S / 4)
        await replica.answer_with(index, answer_to(replica.slices[index], replica="b"))
    await asyncio.gather(*waiting)
    held = [await start(dispatcher, [text(name, 300)]) for name in range(30, 35)]
    with pytest.raises(Overloaded, match="limit is 1024"):
        await dispatcher.embed([text(99, 300)], Priority.INTERACTIVE, FOREVER_S)
    assert len(replica.sent) == 11
    for index in range(10, 15):
        await replica.answer(index)
    await asyncio.gather(*held)


@on_a_loop
async def test_a_slice_tells_its_replicas_part_of_what_waits_behind_it_in_both_classes() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1), ReplicaCount(2, 4))
    tasks = [await start(dispatcher, texts(1, [10] * 4)), await start(dispatcher, texts(9, [30] * 3), FOREVER_S)]
    tasks.append(await start(dispatcher, texts(20, [7] * 3), priority=Priority.BULK))
    assert [slice_.backlog_tokens for slice_ in replica.slices] == [10.0, 10.0, 58.5, 58.5]  # of 20, and of 110 + 7
    assert len({slice_.sender for slice_ in replica.slices}) == 1
    assert replica.slices[0].sender
    while not all(task.done() for task in tasks):
        await replica.answer_waiting(range(len(replica.slices)))
    assert [slice_.backlog_tokens for slice_ in replica.slices][-1] == 0.0


@on_a_loop
async def test_where_the_number_is_fixed_nothing_is_told() -> None:
    replica = Replica()
    task = await start(dispatcher_of(replica, limits_of(slice_texts=1)), texts(1, [10] * 2))
    assert (replica.slices[0].sender, replica.slices[0].backlog_tokens) == ("", 0.0)
    await replica.answer(0, 1)
    await task


@on_a_loop
async def test_a_request_to_a_sleeping_model_waits_for_the_replica_that_it_wakes() -> None:
    replica, probe = Replica(), Probe()
    probe.park()
    dispatcher = dispatcher_of(replica, gate=sleepy_gate(probe))
    first = await start(dispatcher, [text(1, 5)], timeout_s=60.0)
    await asyncio.sleep(10.0)
    second = await start(dispatcher, [text(2, 5)], timeout_s=60.0)
    await asyncio.sleep(10.0)
    assert not first.done()
    probe.come_back()
    await settle()
    await replica.answer(0)
    await replica.answer(1)
    np.testing.assert_array_equal((await first).vectors, right_vectors([text(1, 5)]))
    np.testing.assert_array_equal((await second).vectors, right_vectors([text(2, 5)]))


@on_a_loop
async def test_a_request_for_which_no_replica_can_start_in_time_gets_503_at_once_with_the_time_to_wait() -> None:
    replica, probe = Replica(), Probe()
    probe.park()
    dispatcher = dispatcher_of(replica, gate=sleepy_gate(probe, start_s=100.0))
    patient = await start(dispatcher, [text(1, 5)], timeout_s=200.0)
    await asyncio.sleep(10.0)
    with pytest.raises(ReplicaUnavailable) as caught:
        await dispatcher.embed([text(2, 5)], Priority.INTERACTIVE, timeout_s=60.0)
    assert caught.value.retry_after_s == pytest.approx(92.0, abs=2.0)
    probe.come_back()
    await replica.answer(0)
    await patient


@on_a_loop
async def test_a_request_that_waited_in_vain_gets_503_shortly_before_its_time_is_up_and_its_slice_is_cancelled() -> (
    None
):
    replica, probe = Replica(), Probe()
    probe.park()
    dispatcher = dispatcher_of(replica, gate=sleepy_gate(probe, start_s=100.0))
    began = asyncio.get_running_loop().time()
    with pytest.raises(ReplicaUnavailable) as caught:
        await dispatcher.embed([text(1, 5)], Priority.INTERACTIVE, timeout_s=20.0)
    assert 17.0 <= asyncio.get_running_loop().time() - began <= 20.0
    assert caught.value.retry_after_s == pytest.approx(83.0, abs=3.0)
    await settle()
    assert replica.cancelled == [0]
    probe.come_back()
    await settle()


@on_a_loop
async def test_a_slice_whose_replica_went_to_sleep_is_sent_again_and_waits() -> None:
    replica, probe = Replica(), Probe()
    dispatcher = dispatcher_of(replica, gate=sleepy_gate(probe))
    task = await start(dispatcher, [text(1, 5)], timeout_s=60.0)
    probe.park()
    await replica.fail(0, ReplicaUnavailable("Died."))
    await asyncio.sleep(5.0)
    assert replica.sent == [[1], [1]]
    probe.come_back()
    await replica.answer(1)
    await task


@on_a_loop
async def test_a_sleeping_model_whose_replica_is_only_slow_still_keeps_deadlines() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, gate=sleepy_gate(Probe()))
    with pytest.raises(DeadlineExceeded):
        await dispatcher.embed([text(1, 5)], Priority.INTERACTIVE, timeout_s=20.0)
