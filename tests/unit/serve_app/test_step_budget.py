"""One limit for a step, from the bounds of its classes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority
from serve_app.engines.step_budget import StepBudget

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


def holding(*texts: tuple[int, Priority], can_pause: bool = True) -> StepBudget:
    budget = StepBudget(1000, can_pause=can_pause)
    for key, (tokens, priority) in enumerate(texts):
        budget.add(key, tokens, priority)
    return budget


def test_bulk_alone_fills_a_step() -> None:
    assert holding(*[(300, BULK)] * 9).of_step(StepBounds.full(1000), {}) == 1000
    assert holding((300, BULK)).of_step(StepBounds.full(1000), {}) == 300


def test_interactive_texts_begin_whatever_bulk_may_have() -> None:
    budget = holding((300, BULK), (20, INTERACTIVE), (30, INTERACTIVE))
    assert budget.of_step(StepBounds(bulk_tokens=0, text_tokens=100), {}) == 50
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {}) == 150


def test_begun_texts_go_on_by_as_much_as_one_text_may_take() -> None:
    budget = holding((900, INTERACTIVE), (900, BULK), (20, INTERACTIVE))
    assert budget.of_step(StepBounds(bulk_tokens=0, text_tokens=100), {0: 500, 1: 880}) == 100 + 20 + 20


def test_no_further_bulk_begins_while_what_has_begun_takes_its_share() -> None:
    budget = holding((900, BULK), (900, BULK))
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {0: 500}) == 100
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {0: 870}) == 30 + 70


def test_a_text_that_cannot_be_computed_in_pieces_fits_whole() -> None:
    budget = holding((400, BULK), (20, INTERACTIVE), can_pause=False)
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {}) == 420
    assert holding((400, INTERACTIVE), can_pause=False).of_step(StepBounds(bulk_tokens=8, text_tokens=100), {}) == 400


def test_bulk_that_gives_way_need_not_fit() -> None:
    budget = holding((400, BULK), (20, INTERACTIVE), can_pause=False)
    assert budget.of_step(StepBounds(bulk_tokens=64, text_tokens=100, bulk_gives_way=True), {}) == 20 + 64


def test_only_the_next_of_the_texts_that_are_computed_whole_must_fit() -> None:
    budget = holding((30, BULK), (900, BULK), can_pause=False)
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {}) == 100
    budget.remove([0])
    assert budget.of_step(StepBounds(bulk_tokens=100, text_tokens=100), {}) == 900


def test_what_has_left_no_longer_counts() -> None:
    budget = holding((300, BULK), (20, INTERACTIVE))
    assert budget.remove([0, 77]) == 300
    assert budget.of_step(StepBounds.full(1000), {}) == 20


@given(
    st.lists(st.tuples(st.integers(1, 3000), st.sampled_from(Priority), st.integers(0, 2999)), max_size=12),
    st.integers(1, 1000),
    st.integers(1, 1000),
)
def test_a_step_is_never_empty_and_never_too_long(
    texts: list[tuple[int, Priority, int]], bulk_tokens: int, text_tokens: int
) -> None:
    budget = holding(*((tokens, priority) for tokens, priority, _ in texts))
    begun = {key: done for key, (tokens, _, done) in enumerate(texts) if 0 < done < tokens}
    assert 1 <= budget.of_step(StepBounds(bulk_tokens, text_tokens), begun) <= 1000
