from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.fair_queue import TURN_TOKENS, FairQueue, Queued
from tests.unit.serve_app.slices import text

FAIR_PART = 1000
Lengths = st.lists(st.integers(1, 1200), min_size=1, max_size=40)


def request_of(lengths: list[int]) -> Queued:
    return Queued([text(0, 1)] * len(lengths), lengths, sum(lengths))


def queue_of(*requests: Queued) -> FairQueue[Queued]:
    queue: FairQueue[Queued] = FairQueue(FAIR_PART)
    for request in requests:
        queue.add(request)
    return queue


def rows_of(queue: FairQueue[Queued], request: Queued, max_tokens: int = 8192, max_texts: int = 256) -> range:
    """What the next slice takes of one request."""
    return dict(queue.take(max_tokens, max_texts)).get(request, range(0))


@given(st.lists(Lengths, max_size=6), st.integers(1, 3000), st.integers(1, 50))
def test_every_row_leaves_once_in_order_and_slices_keep_their_bounds(
    sizes: list[list[int]], max_tokens: int, max_texts: int
) -> None:
    requests = [request_of(lengths) for lengths in sizes]
    queue = queue_of(*requests)
    left: dict[Queued, list[int]] = {request: [] for request in requests}
    while queue.tokens:
        parts = queue.take(max_tokens, max_texts)
        tokens = sum(request.lengths[row] for request, rows in parts for row in rows)
        texts = sum(len(rows) for _, rows in parts)
        assert 1 <= texts <= max_texts
        assert tokens <= max_tokens or texts == 1
        queue.set_fair_part(queue.fair_part + 10)
        assert queue.occupied == sum(min(request.waiting_tokens, queue.fair_part) for request in requests)
        for request, rows in parts:
            left[request].extend(rows)
    assert all(rows == list(range(len(request.texts))) for request, rows in left.items())
    assert queue.requests == 0
    assert queue.take(max_tokens, max_texts) == []


@given(st.lists(Lengths, min_size=1, max_size=6), st.data())
def test_what_is_discarded_leaves_no_token_behind_and_never_leaves(sizes: list[list[int]], data: st.DataObject) -> None:
    requests = [request_of(lengths) for lengths in sizes]
    queue = queue_of(*requests)
    queue.take(data.draw(st.integers(1, 3000)), 8)
    gone = data.draw(st.sets(st.sampled_from(range(len(requests)))))
    for index in gone:
        queue.discard(requests[index])
        queue.discard(requests[index])
    kept = [request for index, request in enumerate(requests) if index not in gone]
    assert queue.tokens == sum(sum(request.lengths[request.sent :]) for request in kept)
    assert queue.occupied == sum(min(request.waiting_tokens, FAIR_PART) for request in kept)
    assert queue.requests == sum(request.sent < len(request.texts) for request in kept)
    while queue.tokens:
        assert {request for request, _ in queue.take(500, 8)} <= set(kept)


def test_a_request_alone_fills_whole_slices() -> None:
    queue = queue_of(request_of([30] * 2048))
    assert [len(rows) for _, rows in queue.take(8192, 256)] == [256]
    assert [len(rows) for _, rows in queue.take(6000, 256)] == [200]


def test_two_large_requests_share_a_slice_evenly() -> None:
    requests = [request_of([64] * 500) for _ in range(2)]
    parts = queue_of(*requests).take(8192, 256)
    assert [len(rows) for _, rows in parts] == [64, 64]


def test_many_short_texts_share_with_others_by_number_too() -> None:
    short, single = request_of([2] * 2048), request_of([2])
    queue = queue_of(short, single)
    assert dict(queue.take(8192, 256)) == {short: range(255), single: range(1)}


def test_a_request_of_long_texts_does_not_get_more_tokens_than_others() -> None:
    long, short = request_of([4000] * 20), request_of([100] * 2000)
    queue = queue_of(long, short)
    for _ in range(8):
        queue.take(8192, 256)
    ratio = (4000 * long.sent) / (100 * short.sent)
    assert 0.8 < ratio < 1.25


def test_a_text_longer_than_a_slice_leaves_alone() -> None:
    long, short = request_of([9000]), request_of([5, 9000])
    queue = queue_of(short, long)
    sizes = [sum(len(rows) for _, rows in queue.take(8192, 256)) for _ in range(3)]
    assert sizes == [1, 1, 1]


def test_a_turn_cut_short_by_the_end_of_a_slice_goes_on_first_in_the_next() -> None:
    first, second = request_of([100] * 5), request_of([100])
    queue = queue_of(first, second)
    assert dict(queue.take(250, 256)) == {first: range(2)}
    assert dict(queue.take(350, 256)) == {first: range(2, 5)}
    assert dict(queue.take(250, 256)) == {second: range(1)}


def test_discarding_the_request_whose_turn_was_cut_short_lets_the_next_one_begin() -> None:
    first, second = request_of([100] * 5), request_of([100])
    queue = queue_of(first, second)
    queue.take(250, 256)
    queue.discard(first)
    assert dict(queue.take(250, 256)) == {second: range(1)}


def test_a_small_request_waits_for_a_turn_of_each_other_request_and_a_large_one_for_all() -> None:
    queue = queue_of(*(request_of([100] * 100) for _ in range(3)))
    assert queue.tokens_before(texts=1, tokens=100) == 3 * TURN_TOKENS
    assert queue.tokens_before(texts=64, tokens=100) == 6 * TURN_TOKENS
    assert queue.tokens_before(texts=100, tokens=10_000) == 30_000
    assert queue_of(request_of([7])).tokens_before(texts=1, tokens=100) == 7
