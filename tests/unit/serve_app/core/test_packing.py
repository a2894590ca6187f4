from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.core.packing import pack

Lengths = st.lists(st.integers(1, 40), max_size=60)


def sizes(lengths: list[int], max_tokens: int, max_texts: int) -> list[int]:
    return [len(run) for run in pack(lengths, max_tokens, max_texts)]


@given(Lengths, st.integers(1, 50), st.integers(1, 8))
@example([50, 1, 50], 10, 3)
def test_every_index_is_covered_once_and_in_order(lengths: list[int], max_tokens: int, max_texts: int) -> None:
    runs = pack(lengths, max_tokens, max_texts)
    assert [index for run in runs for index in run] == list(range(len(lengths)))


@given(Lengths, st.integers(1, 50), st.integers(1, 8))
def test_a_slice_respects_both_budgets_unless_one_text_is_too_long(
    lengths: list[int], max_tokens: int, max_texts: int
) -> None:
    runs = list(pack(lengths, max_tokens, max_texts))
    assert all(1 <= len(run) <= max_texts for run in runs)
    assert all(sum(lengths[index] for index in run) <= max_tokens or len(run) == 1 for run in runs)


@given(Lengths, st.integers(1, 50), st.integers(1, 8))
def test_a_slice_ends_only_where_the_next_text_has_no_room(lengths: list[int], max_tokens: int, max_texts: int) -> None:
    runs = list(pack(lengths, max_tokens, max_texts))
    assert all(
        len(run) == max_texts or sum(lengths[run.start : run.stop + 1]) > max_tokens for run in runs[:-1]
    )  # otherwise every text could travel alone and all other properties would hold


def test_a_text_longer_than_the_budget_travels_alone() -> None:
    assert list(pack([3, 100, 3, 3], max_tokens=10, max_texts=9)) == [range(1), range(1, 2), range(2, 4)]


def test_a_slice_may_fill_its_token_budget_exactly() -> None:
    assert sizes([5, 5, 5, 5], max_tokens=10, max_texts=9) == [2, 2]


def test_a_slice_may_fill_its_text_budget_exactly() -> None:
    assert sizes([1] * 7, max_tokens=100, max_texts=3) == [3, 3, 1]


def test_no_texts_make_no_slices() -> None:
    assert list(pack([], max_tokens=10, max_texts=3)) == []
