from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.pace import Pace


def test_until_a_step_was_large_enough_a_step_may_be_as_large_as_any() -> None:
    pace = Pace(least_tokens=100)
    pace.saw(99, 1.0)
    pace.saw(1000, 0.0)
    assert pace.tokens_in(0.01, most=5000) == 5000


def test_a_step_gets_the_tokens_that_its_time_allows() -> None:
    pace = Pace(least_tokens=100)
    pace.saw(1000, 0.5)
    assert pace.tokens_in(0.25, most=5000) == 500
    assert pace.tokens_in(10.0, most=5000) == 5000
    assert pace.tokens_in(0.001, most=5000) == 100


def test_small_steps_do_not_make_the_engine_look_slow() -> None:
    pace = Pace(least_tokens=100)
    pace.saw(1000, 0.5)
    for _ in range(1000):
        pace.saw(10, 0.1)
    assert pace.tokens_in(1.0, most=5000) == 2000


def test_a_step_takes_at_least_twice_as_long_as_the_smallest() -> None:
    pace = Pace(least_tokens=100)
    pace.saw(1000, 0.5)
    pace.saw(10, 0.2)
    assert pace.tokens_in(0.25, most=5000) == 800
    assert pace.tokens_in(0.5, most=5000) == 1000


def test_the_newest_steps_count_most() -> None:
    pace = Pace(least_tokens=1)
    for _ in range(30):
        pace.saw(100, 1.0)
    for _ in range(30):
        pace.saw(1000, 1.0)
    assert pace.tokens_in(1.0, most=5000) == pytest.approx(1000, rel=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.just(0.0) | st.floats(1e-6, 10))),
    st.floats(0, 100),
    st.integers(100, 20_000),
)
def test_there_is_always_something_to_compute(steps: list[tuple[int, float]], seconds: float, most: int) -> None:
    pace = Pace(least_tokens=100)
    for tokens, taken_s in steps:
        pace.saw(tokens, taken_s)
    assert 100 <= pace.tokens_in(seconds, most) <= most
