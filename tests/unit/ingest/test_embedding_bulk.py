from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.embedding.bulk import MOST_FAILED_IN_A_ROW, SLICE_TEXTS, SLICE_TOKENS, BulkEmbedder
from ingest.embedding.transport import Vector
from serve_app.core.errors import (
    DeadlineExceeded,
    EmbedError,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    ReplicaUnavailable,
    SetupError,
)
from serve_app.core.types import TokenIds
from tests.unit.ingest.endpoint_server import POISON, vector_of

SOON_S = 0.001


class Cluster:
    """A transport that keeps what it was sent, and fails as it is told to before it is right again."""

    def __init__(self, *told: EmbedError, hangs: bool = False) -> None:
        self.told = deque(told)
        self.hangs = hangs
        self.sent: list[list[TokenIds]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.failure: Callable[[], EmbedError] = lambda: EngineFailed("A vector is not finite.")
        self.names_faults = False
        self.most_tokens = 10**9

    async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
        assert timeout_s > 0
        self.sent.append(texts)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(3600 if self.hangs else 0)
            return self._vectors(texts)
        finally:
            self.under_way -= 1

    def _vectors(self, texts: list[TokenIds]) -> list[Vector | None]:
        if self.told:
            raise self.told.popleft()
        if not self.names_faults and any(POISON in text for text in texts):
            raise self.failure()
        if sum(map(len, texts)) > self.most_tokens:
            raise DeadlineExceeded("Too slow.")
        return [None if self.is_faulty(text) else vector_of(text) for text in texts]

    def is_faulty(self, text: TokenIds) -> bool:
        return POISON in text

    async def close(self) -> None:
        pass


def texts_of(*lengths: int) -> list[TokenIds]:
    return [np.full(length, index % 600 + 1, dtype=np.int32) for index, length in enumerate(lengths)]


def poisoned(texts: Sequence[TokenIds], *indexes: int) -> list[TokenIds]:
    return [np.append(text, np.int32(POISON)) if index in indexes else text for index, text in enumerate(texts)]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 10))


def embed(cluster: Cluster, texts: Sequence[TokenIds], in_flight: int = 4, timeout_s: float = 60.0) -> Any:
    return run(BulkEmbedder(cluster, in_flight, timeout_s).embed(texts))


def assert_right(found: Any, texts: Sequence[TokenIds], *lost: int) -> None:
    assert [index for index, vector in enumerate(found) if vector is None] == sorted(lost)
    for vector, text in zip(found, texts, strict=True):
        assert vector is None or np.array_equal(vector, vector_of(text))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=6_000), max_size=30))
def test_every_text_gets_its_own_vector_in_slices_within_the_budget(lengths: list[int]) -> None:
    cluster, texts = Cluster(), texts_of(*lengths)
    assert_right(embed(cluster, texts), texts)
    assert sum(map(len, cluster.sent)) == len(texts)
    assert all(sum(map(len, slice_)) <= SLICE_TOKENS and len(slice_) <= SLICE_TEXTS for slice_ in cluster.sent)


def test_long_texts_go_first_and_short_ones_do_not_share_their_slice() -> None:
    cluster = Cluster()
    embed(cluster, texts_of(*[10, 4_000] * 4, *[10] * 300))
    first, *rest = [[len(text) for text in slice_] for slice_ in cluster.sent]
    assert first[:4] == [4_000] * 4
    assert all(length == 10 for slice_ in rest for length in slice_)


def test_no_text_is_no_work() -> None:
    cluster = Cluster()
    assert embed(cluster, []) == []
    assert cluster.sent == []


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_slices_than_allowed_are_under_way(in_flight: int) -> None:
    cluster = Cluster()

    async def two_batches() -> None:
        embedder = BulkEmbedder(cluster, in_flight, 60.0)
        await asyncio.gather(*(embedder.embed(texts_of(*[16_000] * 5)) for _ in range(2)))

    run(two_batches())
    assert cluster.most_under_way == in_flight


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(min_value=0, max_value=40), max_size=6))
def test_texts_the_engine_cannot_embed_are_found_and_no_other_is_lost(bad: set[int]) -> None:
    texts = poisoned(texts_of(*range(1, 42)), *bad)
    assert_right(embed(Cluster(), texts), texts, *bad)


def test_one_bad_text_of_a_full_slice_costs_few_requests() -> None:
    cluster, texts = Cluster(), poisoned(texts_of(*[5] * 256), 77)
    assert_right(embed(cluster, texts), texts, 77)
    assert len(cluster.sent) <= 1 + 2 * 8 + 1


class Naming(Cluster):
    """Tells which texts got faulty vectors; the first `ill` of its slices have no good one."""

    def __init__(self, ill: int = 0) -> None:
        super().__init__()
        self.names_faults = True
        self._ill = ill

    def is_faulty(self, text: TokenIds) -> bool:
        return len(self.sent) <= self._ill or super().is_faulty(text)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(min_value=0, max_value=40), max_size=41))
def test_texts_that_the_cluster_names_are_left_out_and_no_other_is_lost(bad: set[int]) -> None:
    texts = poisoned(texts_of(*range(1, 42)), *bad)

    async def good_then_all() -> Any:
        embedder = BulkEmbedder(Naming(), 4, 60.0)
        await embedder.embed(texts_of(3))
        return await embedder.embed(texts)

    assert_right(run(good_then_all()), texts, *bad)


def test_of_a_slice_that_names_its_faulty_texts_no_other_is_sent_again() -> None:
    cluster, texts = Naming(), poisoned(texts_of(*[5] * 256), 7, 77, 177)
    assert_right(embed(cluster, texts), texts, 7, 77, 177)
    whole, *again = cluster.sent
    assert len(whole) == 256
    assert all(POISON in text for slice_ in again for text in slice_)
    assert [len(slice_) for slice_ in again] == [3, 1, 1, 2, 1, 1, 1, 1]


def test_one_named_text_costs_two_more_slices() -> None:
    cluster, texts = Naming(), poisoned(texts_of(*[5] * 256), 77)
    assert_right(embed(cluster, texts), texts, 77)
    assert [len(slice_) for slice_ in cluster.sent] == [256, 1, 1]


def test_a_sick_replica_among_sound_ones_costs_no_text() -> None:
    class SickEveryOther(Naming):
        def is_faulty(self, text: TokenIds) -> bool:
            return len(self.sent) % 2 == 1 or super().is_faulty(text)

    texts = texts_of(*range(1, 42))
    assert_right(embed(SickEveryOther(), texts), texts)


def test_a_text_that_is_faulty_once_is_not_given_up() -> None:
    cluster, texts = Naming(ill=1), texts_of(1, 2, 3)
    assert_right(embed(cluster, texts), texts)
    assert [len(slice_) for slice_ in cluster.sent] == [3, 1, 2]


def test_a_cluster_whose_vectors_are_all_faulty_ends_the_job() -> None:
    with pytest.raises(SetupError, match=r"32 texts in a row.* not finite or not of unit length"):
        embed(Naming(ill=10**9), texts_of(*[5] * 40))


def test_a_cluster_whose_vectors_become_all_faulty_ends_the_job() -> None:
    cluster = Naming()

    async def good_then_ill() -> None:
        embedder = BulkEmbedder(cluster, 1, 60.0)
        await embedder.embed(texts_of(5))
        cluster._ill = 10**9
        for _ in range(MOST_FAILED_IN_A_ROW):
            await embedder.embed(texts_of(6))

    with pytest.raises(SetupError, match=rf"{MOST_FAILED_IN_A_ROW} texts in a row"):
        run(good_then_ill())


def test_many_texts_that_are_named_never_end_the_job_while_a_good_one_succeeds() -> None:
    texts = poisoned(texts_of(*[5] * 300), *range(1, 300))
    assert_right(embed(Naming(), texts, in_flight=1), texts, *range(1, 300))


def test_a_slice_that_fails_while_named_texts_are_tried_again_is_halved() -> None:
    class FailsOnce(Naming):
        def _vectors(self, texts: list[TokenIds]) -> list[Vector | None]:
            if len(self.sent) == 2:
                raise EngineFailed("The step failed.")
            return super()._vectors(texts)

    texts = poisoned(texts_of(1, 2, 3, 4), 1, 2)
    assert_right(embed(FailsOnce(), texts), texts, 1, 2)


def test_a_refused_text_is_isolated_as_well() -> None:
    cluster, texts = Cluster(), poisoned(texts_of(1, 2, 3), 1)
    cluster.failure = lambda: InvalidRequest("A token id outside the vocabulary.")
    assert_right(embed(cluster, texts), texts, 1)


def test_a_text_that_fails_once_alone_is_not_given_up() -> None:
    cluster, texts = Cluster(EngineFailed("The step failed.")), texts_of(3)
    assert_right(embed(cluster, texts), texts)
    assert len(cluster.sent) == 2


def test_an_engine_that_fails_everything_ends_the_job_and_not_the_texts() -> None:
    count = MOST_FAILED_IN_A_ROW + 10
    with pytest.raises(SetupError, match=r"32 texts in a row.* A vector is not finite"):
        embed(Cluster(), poisoned(texts_of(*[5] * count), *range(count)))


def test_many_bad_texts_never_end_the_job_while_good_ones_succeed() -> None:
    bad = range(100, 200)
    texts = poisoned(texts_of(*[5] * 200), *bad)

    async def good_then_all() -> Any:
        embedder = BulkEmbedder(Cluster(), 1, 60.0)
        await embedder.embed(texts[:1])
        return await embedder.embed(texts)

    assert_right(run(good_then_all()), texts, *bad)


def test_an_engine_that_begins_to_fail_everything_ends_the_job() -> None:
    cluster = Cluster()

    async def good_then_ill() -> None:
        embedder = BulkEmbedder(cluster, 1, 60.0)
        await embedder.embed(texts_of(5))
        cluster.told.extend(EngineFailed("The engine is broken.") for _ in range(1_000))
        await embedder.embed(texts_of(*[5] * 100))

    with pytest.raises(SetupError, match="engine is broken"):
        run(good_then_ill())


def test_a_full_cluster_is_waited_for_as_often_as_it_takes_and_slowed_down_for() -> None:
    refusals = [Overloaded("Full.", retry_after_s=SOON_S) for _ in range(50)]
    cluster, texts = Cluster(*refusals), texts_of(*[16_000] * 4)
    assert_right(embed(cluster, texts, timeout_s=0.5), texts)


def test_refusals_lower_the_slices_under_way() -> None:
    cluster = Cluster(*[Overloaded("Full.", retry_after_s=SOON_S) for _ in range(8)])
    embedder = BulkEmbedder(cluster, 8, 60.0)

    async def refused_then_watched() -> None:
        await embedder.embed(texts_of(*[16_000] * 8))

    run(refused_then_watched())
    together, later = cluster.sent[:8], cluster.sent[8:]
    assert (len(together), len(later)) == (8, 8)
    assert embedder.limit <= 6


def test_nothing_is_sent_before_the_time_a_full_cluster_asked_for() -> None:
    class Watched(Cluster):
        times: list[float]

        async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
            self.times = [*getattr(self, "times", []), asyncio.get_running_loop().time()]
            return await super().send(texts, timeout_s)

    cluster = Watched(Overloaded("Full.", retry_after_s=0.1))
    embed(cluster, texts_of(*[16_000] * 3), in_flight=1)
    assert cluster.times[1] - cluster.times[0] >= 0.09


def test_a_lost_replica_is_waited_for() -> None:
    cluster = Cluster(*[ReplicaUnavailable("None.", retry_after_s=SOON_S) for _ in range(5)])
    texts = texts_of(1, 2, 3)
    assert_right(embed(cluster, texts), texts)


def test_a_broken_connection_is_tried_again_at_once_while_the_budget_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    cluster, texts = Cluster(*[ReplicaUnavailable("Broken.") for _ in range(12)]), texts_of(3)
    monkeypatch.setattr(asyncio, "sleep", noted)
    assert_right(embed(cluster, texts), texts)
    assert [seconds for seconds in slept if seconds] == [1.0, 2.0]


def test_a_cluster_that_stays_away_ends_the_job() -> None:
    cluster = Cluster(*[ReplicaUnavailable("No cluster answers.", retry_after_s=0.02) for _ in range(50)])
    with pytest.raises(SetupError, match=r"cluster is gone: for 0\.1 s .*No cluster answers.*Run it again"):
        embed(cluster, texts_of(1), timeout_s=0.1)


def test_a_cluster_that_never_answers_ends_the_job() -> None:
    with pytest.raises(SetupError, match=r"for 0\.05 s .*do not answer"):
        embed(Cluster(hangs=True), texts_of(1), timeout_s=0.05)


def test_what_is_too_slow_as_one_slice_is_sent_in_smaller_ones() -> None:
    cluster, texts = Cluster(), texts_of(*[1_000] * 16)
    cluster.most_tokens = 4_000

    async def two_batches() -> Any:
        embedder = BulkEmbedder(cluster, 1, 60.0)
        return await embedder.embed(texts), await embedder.embed(texts)

    first, second = run(two_batches())
    assert_right(first, texts)
    assert_right(second, texts)
    assert [len(slice_) for slice_ in cluster.sent[-4:]] == [4] * 4


def test_what_never_finds_room_as_one_slice_is_sent_in_smaller_ones() -> None:
    class SmallQueue(Cluster):
        def _vectors(self, texts: list[TokenIds]) -> list[Vector | None]:
            if sum(map(len, texts)) > 4_000:
                raise Overloaded("Full.", retry_after_s=SOON_S)
            return super()._vectors(texts)

    texts = texts_of(*[500] * 32)
    vectors = embed(SmallQueue(), texts)
    assert all(np.array_equal(vector, vector_of(text)) for vector, text in zip(vectors, texts, strict=True))


def test_what_ends_the_job_cancels_the_other_slices() -> None:
    cluster = Cluster()

    async def hanging(texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
        cluster.under_way += 1
        if cluster.under_way == 2:
            raise SetupError("The key is refused.")
        try:
            await asyncio.sleep(3600)
        finally:
            cluster.under_way = -1
        raise AssertionError

    cluster.send = hanging  # type: ignore[method-assign]
    with pytest.raises(SetupError, match="key is refused"):
        embed(cluster, texts_of(*[16_000] * 2))
    assert cluster.under_way == -1
