from __future__ import annotations

from math import inf, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.evaluate.metrics import MAX_CELLS, Ranks, first_ranks, interval, ndcg, recall, reciprocal_rank

RANKS = st.lists(st.integers(1, 30) | st.just(inf), min_size=1, max_size=8).map(lambda ranks: np.array(ranks, float))
CUTOFFS = st.integers(1, 20)


def ranks_of(*ranks: float) -> Ranks:
    return np.array(ranks, dtype=float)


def test_the_first_chunk_of_an_answer_is_what_finds_it() -> None:
    ranking = ["a", "b", "c", "d"]
    assert first_ranks(ranking, [{"d", "b"}, {"a"}, {"x"}, set()]).tolist() == [2, 1, inf, inf]


def test_a_key_that_comes_twice_counts_where_it_comes_first() -> None:
    assert first_ranks(["a", "b", "a"], [{"a"}]).tolist() == [1]


@pytest.mark.parametrize(
    ("ranks", "cutoff", "value"),
    [((1, 3, inf), 1, 1 / 3), ((1, 3, inf), 3, 2 / 3), ((inf,), 10, 0), ((10,), 10, 1), ((11,), 10, 0)],
)
def test_recall_is_the_share_of_answers_found(ranks: tuple[float, ...], cutoff: int, value: float) -> None:
    assert recall(ranks_of(*ranks), cutoff) == pytest.approx(value)


@pytest.mark.parametrize(("ranks", "value"), [((1, 5), 1), ((4, 2), 1 / 2), ((10,), 1 / 10), ((11,), 0), ((inf,), 0)])
def test_the_reciprocal_rank_is_of_the_best_answer(ranks: tuple[float, ...], value: float) -> None:
    assert reciprocal_rank(ranks_of(*ranks), 10) == pytest.approx(value)


@pytest.mark.parametrize(
    ("ranks", "value"),
    [
        ((1,), 1),
        ((2,), 1 / log2(3)),
        ((11,), 0),
        ((1, 2), 1),
        ((1, 3), (1 + 1 / 2) / (1 + 1 / log2(3))),
        ((3, 1), (1 + 1 / 2) / (1 + 1 / log2(3))),
        ((1, inf), 1 / (1 + 1 / log2(3))),
        ((1, 1), 1),  # two answers in one chunk: nothing could be better
        ((4, 4), 2 / log2(5) / (1 + 1 / log2(3))),
    ],
)
def test_ndcg_is_what_it_is_by_hand(ranks: tuple[float, ...], value: float) -> None:
    assert ndcg(ranks_of(*ranks), 10) == pytest.approx(value)


def test_more_answers_than_ranks_can_still_be_found_perfectly() -> None:
    assert ndcg(ranks_of(*range(1, 6)), 3) == pytest.approx(1)


@given(RANKS, CUTOFFS)
def test_every_metric_lies_between_nothing_and_one(ranks: Ranks, cutoff: int) -> None:
    for metric in (recall, reciprocal_rank, ndcg):
        assert 0 <= metric(ranks, cutoff) <= 1 + 1e-12


@given(RANKS, CUTOFFS, st.integers(0, 7))
def test_an_answer_found_later_is_never_better(ranks: Ranks, cutoff: int, index: int) -> None:
    worse = ranks.copy()
    worse[index % len(ranks)] += 1
    for metric in (recall, reciprocal_rank, ndcg):
        assert metric(worse, cutoff) <= metric(ranks, cutoff) + 1e-12


@given(RANKS, CUTOFFS, st.integers(0, 7))
def test_the_order_of_the_answers_plays_no_part(ranks: Ranks, cutoff: int, shift: int) -> None:
    for metric in (recall, reciprocal_rank, ndcg):
        assert metric(np.roll(ranks, shift), cutoff) == pytest.approx(metric(ranks, cutoff))


def test_the_interval_of_a_coin_is_the_textbook_s() -> None:
    found = interval(np.array([0.0, 1.0] * 200), seed=1)
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.5 / 20, abs=0.01)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.5 / 20, abs=0.01)


def test_many_questions_are_resampled_in_parts() -> None:
    values = np.random.default_rng(3).random(MAX_CELLS // 900)
    found = interval(values, 1)
    spread = 1.96 * values.std() / np.sqrt(len(values))
    assert (found.low, found.high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.003)


def test_the_interval_depends_on_the_seed_and_on_nothing_else() -> None:
    values = np.random.default_rng(3).random(50)
    assert interval(values, 1) == interval(values, 1)
    assert interval(values, 1) != interval(values, 2)


@pytest.mark.parametrize("values", [[1.0], [0.25] * 30])
def test_values_that_are_all_alike_have_no_width(values: list[float]) -> None:
    found = interval(np.array(values), seed=0)
    assert (found.low, found.mean, found.high) == (values[0],) * 3
