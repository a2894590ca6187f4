from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.retry import RetryBudget


def spend_all(budget: RetryBudget) -> int:
    """How many retries the budget allowed."""
    spent = 0
    while budget.spend():
        spent += 1
    return spent


def test_a_new_budget_allows_ten_retries() -> None:
    assert spend_all(RetryBudget()) == 10


def test_ten_slices_earn_one_retry() -> None:
    budget = RetryBudget()
    spend_all(budget)
    for _ in range(9):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    budget.earn()  # ten tenths are a rounding error short of one
    assert budget.spend()
    assert not budget.spend()


def test_no_more_than_ten_retries_are_saved_up() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.earn()
    assert spend_all(budget) == 10


@given(st.lists(st.integers(0, 30), max_size=100))
def test_retries_never_exceed_ten_and_a_tenth_of_what_was_sent(sent_before_each_failure: list[int]) -> None:
    budget, retried = RetryBudget(), 0
    for sent in sent_before_each_failure:
        for _ in range(sent):
            budget.earn()
        retried += budget.spend()
    assert retried <= 10 + 0.1 * sum(sent_before_each_failure) + 1e-6
