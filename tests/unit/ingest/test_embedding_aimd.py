from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.embedding.aimd import AimdWindow

MOST = st.integers(min_value=1, max_value=64)
EVENTS = st.lists(st.booleans(), max_size=200)


def told(window: AimdWindow, is_success: bool) -> None:
    (window.succeeded if is_success else lambda: window.refused(window.round))()


@given(MOST, EVENTS)
def test_the_limit_stays_between_one_and_the_most(most: int, events: list[bool]) -> None:
    window = AimdWindow(most)
    for is_success in events:
        told(window, is_success)
        assert 1 <= window.limit <= most


@given(MOST, EVENTS)
def test_a_success_never_lowers_the_limit_and_raises_it_by_at_most_one(most: int, events: list[bool]) -> None:
    window = AimdWindow(most)
    for is_success in events:
        told(window, is_success)
        before = window.limit
        window.succeeded()
        assert before <= window.limit <= before + 1


@given(MOST, EVENTS)
def test_a_refusal_halves_the_limit(most: int, events: list[bool]) -> None:
    window = AimdWindow(most)
    for is_success in events:
        told(window, is_success)
    before = window.limit
    window.refused(window.round)
    assert window.limit == max(1, before // 2)


@given(st.integers(min_value=2, max_value=64), st.integers(min_value=2, max_value=64))
def test_refusals_of_what_was_sent_together_halve_it_once(most: int, refusals: int) -> None:
    window = AimdWindow(most)
    sent_in = window.round
    for _ in range(refusals):
        window.refused(sent_in)
    assert window.limit == most // 2


@given(st.integers(min_value=2, max_value=64))
def test_it_recovers_by_one_a_window_of_successes(most: int) -> None:
    window = AimdWindow(most)
    for _ in range(10):
        window.refused(window.round)
    assert window.limit == 1
    window.succeeded()
    assert window.limit == 2
    window.succeeded()
    assert window.limit == 2
    window.succeeded()
    assert window.limit == min(3, most)


@pytest.mark.parametrize("most", [1, 4, 64])
def test_it_starts_with_all_that_is_allowed(most: int) -> None:
    assert AimdWindow(most).limit == most
