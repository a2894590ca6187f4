"""What the dispatcher refuses, retries and gives up."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from serve_app.core.errors import EngineFailed, Overloaded, ReplicaUnavailable
from serve_app.core.types import Priority, Slice
from serve_app.dispatch import dispatcher as dispatching
from serve_app.telemetry.metrics import RETRIES
from tests.unit.serve_app.dispatching import (
    CLIENT,
    MODEL,
    Probe,
    Replica,
    Sink,
    answer_to,
    dispatcher_of,
    limits_of,
    on_a_loop,
    start,
)
from tests.unit.serve_app.slices import right_vectors, text, texts

DIED = ReplicaUnavailable("Died.", retry_after_s=1.0)


@on_a_loop
async def test_a_slice_whose_replica_died_is_sent_once_more() -> None:
    replica, probe, sink = Replica(), Probe(), Sink()
    task = await start(dispatcher_of(replica, probe=probe, sink=sink), [text(1, 5)], timeout_s=30.0)
    await replica.fail(0, DIED)
    assert replica.sent == [[1], [1]]
    assert replica.slices[1].timeout_s == pytest.approx(30.0, abs=1.0)
    assert probe.asked == 1
    assert sink.of(RETRIES) == [(1, (MODEL,))]
    await replica.answer(1)
    np.testing.assert_array_equal((await task).vectors, right_vectors([text(1, 5)]))


@on_a_loop
async def test_a_slice_is_not_sent_a_third_time() -> None:
    replica = Replica()
    task = await start(dispatcher_of(replica), [text(1, 5)])
    await replica.fail(0, DIED)
    await replica.fail(1, DIED)
    with pytest.raises(ReplicaUnavailable, match="Died"):
        await task
    assert replica.sent == [[1], [1]]


@on_a_loop
async def test_other_failures_are_not_retried() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=2))
    tasks = [await start(dispatcher, [text(name, 5)]) for name in (1, 2)]
    await replica.fail(0, EngineFailed("Broken."))
    await replica.fail(1, Overloaded("Full."))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed, Overloaded]
    assert replica.sent == [[1], [2]]


@on_a_loop
async def test_retries_end_with_their_budget() -> None:
    replica, sink = Replica(), Sink()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=12), sink=sink)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in range(12)]
    for index in range(12):
        await replica.fail(index, DIED)
    assert [task.done() for task in tasks] == [False] * 10 + [True] * 2
    assert len(sink.of(RETRIES)) == 10
    for index in range(12, 22):
        await replica.answer(index)
    await asyncio.wait(tasks)
    assert isinstance(tasks[11].exception(), ReplicaUnavailable)
    assert isinstance(tasks[10].exception(), ReplicaUnavailable)


@on_a_loop
async def test_without_any_replica_everything_fails_fast_and_works_again_when_one_is_back() -> None:
    replica, probe = Replica(), Probe()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, slices_per_replica=2), probe=probe)
    tasks = [await start(dispatcher, [text(name, 1)]) for name in (1, 2, 3)]
    probe.park()
    await replica.fail(0, DIED)
    await asyncio.wait(tasks, timeout=5.0)
    for task in tasks:
        error = task.exception()
        assert isinstance(error, ReplicaUnavailable)
        assert error.retry_after_s == pytest.approx(29.0, abs=0.5)
    assert replica.cancelled == [1]
    with pytest.raises(ReplicaUnavailable):
        await dispatcher.embed([text(4, 1)], Priority.BULK, timeout_s=30.0)
    assert replica.sent == [[1], [2]]
    probe.come_back()
    again = await start(dispatcher, [text(5, 1)])
    await replica.answer(2)
    np.testing.assert_array_equal((await again).vectors, right_vectors([text(5, 1)]))


@on_a_loop
async def test_slices_that_hang_are_found_out_without_an_error() -> None:
    replica, probe = Replica(), Probe()
    probe.park()
    task = await start(dispatcher_of(replica, probe=probe), [text(1, 1)])
    with pytest.raises(ReplicaUnavailable):
        await task
    assert replica.cancelled == [0]


@on_a_loop
async def test_a_slow_replica_that_still_answers_the_probe_keeps_its_slices() -> None:
    replica, probe = Replica(), Probe()
    task = await start(dispatcher_of(replica, probe=probe), [text(1, 1)])
    await asyncio.sleep(5 * dispatching.STALE_S)
    assert probe.asked >= 2
    await replica.answer(0)
    await task


@on_a_loop
async def test_a_replica_that_answers_others_is_not_suspected_for_one_slow_slice() -> None:
    replica, probe = Replica(), Probe()
    dispatcher = dispatcher_of(replica, limits_of(slices_per_replica=2), probe=probe)
    slow = await start(dispatcher, [text(1, 1)])
    for index in range(1, 9):
        task = await start(dispatcher, [text(1, 1)])
        await asyncio.sleep(dispatching.STALE_S / 2)
        await replica.answer(index)
        await task
    assert probe.asked == 0
    await replica.answer(0)
    await slow


@on_a_loop
async def test_a_class_is_full_in_tokens_whatever_the_number_of_texts() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1, max_queued_tokens=50), replicas=2)
    await start(dispatcher, texts(1, [10, 10]))  # both leave
    for name in (3, 4, 5):
        await start(dispatcher, [text(name, 25)])  # 75 of 100 tokens wait
    await start(dispatcher, [text(6, 5)])
    for given in ([text(9, 21)], texts(9, [1] * 21)):
        with pytest.raises(
            Overloaded, match=r"80 tokens are waiting, this request adds 21, and the limit is 100"
        ) as full:
            await dispatcher.embed(given, Priority.INTERACTIVE, 30.0)
        assert full.value.retry_after_s == 1.0
    fitting = await start(dispatcher, [text(9, 20)])
    assert not fitting.done()


@on_a_loop
async def test_a_large_request_that_drains_does_not_shut_others_out_and_no_fifth_one_gets_in() -> None:
    dispatcher = dispatcher_of(Replica(), limits_of(slice_texts=1, max_queued_tokens=50))
    await start(dispatcher, texts(1, [60] * 1000))
    others = [await start(dispatcher, [text(9, 5)])]
    others += [await start(dispatcher, texts(9, [60] * 1000)) for _ in range(2)]
    assert not any(task.done() for task in others)
    with pytest.raises(Overloaded, match="this request adds 12, and the limit is 50"):
        await dispatcher.embed(texts(9, [60] * 1000), Priority.INTERACTIVE, 30.0)


@on_a_loop
async def test_a_request_larger_than_the_limit_is_let_in_while_others_wait() -> None:
    dispatcher = dispatcher_of(Replica(), limits_of(slice_texts=1, max_queued_tokens=50))
    await start(dispatcher, texts(1, [1, 30]))
    assert not (await start(dispatcher, texts(2, [60, 60]))).done()


@on_a_loop
async def test_a_request_larger_than_the_limit_is_let_in_when_nobody_of_its_class_waits() -> None:
    dispatcher = dispatcher_of(Replica(), limits_of(slice_texts=1, max_queued_tokens=50))
    await start(dispatcher, [text(1, 1)], priority=Priority.BULK)
    assert not (await start(dispatcher, texts(2, [60, 60]), priority=Priority.BULK)).done()
    assert not (await start(dispatcher, texts(2, [60, 60]))).done()


@on_a_loop
async def test_bulk_counts_interactive_tokens_as_before_it_and_not_the_other_way_round() -> None:
    dispatcher = dispatcher_of(Replica(), limits_of(slice_texts=1, max_queued_tokens=50))
    await start(dispatcher, [text(1, 1)])
    for name in (2, 3, 4):
        await start(dispatcher, [text(name, 12)])
    await start(dispatcher, texts(1, [1, 12]), priority=Priority.BULK)
    with pytest.raises(Overloaded, match="48 tokens are waiting"):
        await dispatcher.embed([text(1, 3)], Priority.BULK, 30.0)
    assert not (await start(dispatcher, [text(1, 12)])).done()


@on_a_loop
async def test_tokens_of_a_request_that_gave_up_make_room_at_once() -> None:
    dispatcher = dispatcher_of(Replica(), limits_of(slice_texts=1, max_queued_tokens=50))
    await start(dispatcher, [text(1, 1)])
    given_up, *_ = [await start(dispatcher, [text(name, 12)]) for name in (2, 3, 4, 5)]
    with pytest.raises(Overloaded):
        await dispatcher.embed([text(6, 12)], Priority.INTERACTIVE, 30.0)
    given_up.cancel()
    assert not (await start(dispatcher, [text(6, 12)])).done()


@on_a_loop
async def test_a_wait_longer_than_the_limit_is_refused_until_all_that_is_here_now_has_been_computed() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_tokens=100, max_wait_s=20.0))
    tasks = [await start(dispatcher, texts(1, [100] * 30))]
    await replica.answer(0, tokens_per_s=100.0)  # the next 100 are under way, 2,800 wait
    tasks.append(await start(dispatcher, [text(99, 10)]))  # a turn of 512 tokens and those under way: 6 s
    with pytest.raises(Overloaded, match=r"wait about 29 s, and the limit is 20 s") as refused:
        await dispatcher.embed(texts(50, [100] * 30), Priority.INTERACTIVE, 60.0)
    assert refused.value.retry_after_s == pytest.approx(29.1)
    with pytest.raises(Overloaded, match=r"wait about \d+ s, and the limit is 3 s"):
        await dispatcher.embed([text(50, 10)], Priority.INTERACTIVE, 3.0)
    for task in tasks:
        task.cancel()


@on_a_loop
async def test_slices_that_all_failed_do_not_make_admission_fail() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=1))
    tasks = [await start(dispatcher, [text(name, 5)]) for name in range(6)]
    for index in range(3):
        await asyncio.sleep(1.0)
        await replica.fail(index, EngineFailed("Broken."))
    tasks.append(await start(dispatcher, [text(9, 5)]))
    assert [task.done() for task in tasks] == [True] * 3 + [False] * 4
    outcomes = [task.exception() for task in tasks[:3]]
    assert [type(outcome) for outcome in outcomes] == [EngineFailed] * 3


@on_a_loop
async def test_answers_of_two_widths_fail_their_request_and_nobody_else() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_tokens=10, slice_texts=2))
    mixed = await start(dispatcher, texts(1, [5, 5, 5, 1, 1]))
    others = [await start(dispatcher, [text(name, 5)]) for name in (8, 9)]
    await replica.answer(0)
    assert replica.sent == [[1, 2], [3, 4]]
    await replica.answer(1, dimensions=16)
    with pytest.raises(ReplicaUnavailable, match="two versions") as replaced:
        await mixed
    assert replaced.value.retry_after_s == 5.0
    await replica.answer(2)
    for task, name in zip(others, (8, 9), strict=True):
        np.testing.assert_array_equal((await task).vectors, right_vectors([text(name, 5)]))
    assert replica.sent[2:] == [[8, 9]]


@on_a_loop
async def test_of_the_requests_that_share_a_slice_only_those_with_a_faulty_text_fail() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica)
    first = await start(dispatcher, [text(1, 5)])
    given = [texts(10, [5]), texts(20, [5, 5, 5]), texts(30, [5, 5]), texts(40, [5])]
    before, several, after, alone = [await start(dispatcher, of_one) for of_one in given]
    await replica.answer(0)
    await first
    assert replica.sent[1] == [10, 20, 21, 22, 30, 31, 40]
    await replica.answer_with_faulty(1, 21, 40)
    for task, of_one in ((before, given[0]), (after, given[2])):
        np.testing.assert_array_equal((await task).vectors, right_vectors(of_one))
    for task in (several, alone):
        with pytest.raises(EngineFailed, match="for an input of this request"):
            await task
    assert len(replica.sent) == 2  # what is faulty once is so again: nothing is computed for it a second time


@on_a_loop
async def test_a_request_with_a_faulty_text_takes_nothing_more_of_the_queue() -> None:
    replica = Replica()
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=2))
    large = await start(dispatcher, texts(10, [5] * 6))
    other = await start(dispatcher, [text(1, 5)])
    await replica.answer_with_faulty(0, 11)
    with pytest.raises(EngineFailed):
        await large
    await replica.answer(1)
    np.testing.assert_array_equal((await other).vectors, right_vectors([text(1, 5)]))
    assert sum(map(len, replica.sent)) <= 4


@on_a_loop
async def test_an_answer_that_cannot_be_read_does_not_stop_the_queue() -> None:
    replica = Replica()
    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    dispatcher = dispatcher_of(replica, limits_of(slice_texts=3))
    broken = await start(dispatcher, texts(1, [1] * 4), timeout_s=10.0)
    other = await start(dispatcher, [text(9, 1)])
    rows_of_two = answer_to(Slice.of(texts(1, [1, 1]), Priority.INTERACTIVE, 1.0))
    await replica.answer_with(0, rows_of_two)
    assert [type(failure) for failure in failures] == [ValueError]
    assert replica.sent == [[1, 2, 3], [4, 9]]
    await replica.answer(1)
    np.testing.assert_array_equal((await other).vectors, right_vectors([text(9, 1)]))
    broken.cancel()


@on_a_loop
async def test_retries_and_probes_do_not_run_in_the_context_of_a_request() -> None:
    replica, probe = Replica(), Probe()
    dispatcher = dispatcher_of(replica, probe=probe)
    CLIENT.set("somebody")
    task = await start(dispatcher, [text(1, 5)])
    await replica.fail(0, DIED)
    await asyncio.sleep(2 * dispatching.STALE_S)  # the second attempt takes long: does anybody answer?
    await replica.answer(1)
    await task
    assert replica.clients == ["nobody"] * 2
    assert probe.asked >= 2
    assert set(probe.clients) == {"nobody"}
