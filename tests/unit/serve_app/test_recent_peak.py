"""The highest recent level: never forgotten early, hardly late, and in few numbers."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.recent_peak import PARTS, highest, with_level

steps = st.lists(st.tuples(st.floats(0.1, 40), st.integers(0, 1000)), min_size=1, max_size=60)


@given(steps, st.floats(0, 300))
def test_the_peak_is_that_of_the_window_or_of_one_part_more(told: list[tuple[float, int]], window_s: float) -> None:
    times, levels = list(accumulate(pause for pause, _ in told)), [level for _, level in told]
    parts: list[list[float]] = []
    for now, level in zip(times, levels, strict=True):
        parts = with_level(parts, now, level, window_s)
    within = [level for now, level in zip(times, levels, strict=True) if now >= times[-1] - window_s]
    longer_s = window_s * (1 + 1 / PARTS) + 1e-6
    nearly = [level for now, level in zip(times, levels, strict=True) if now >= times[-1] - longer_s]
    assert max(within) <= highest(parts) <= max(nearly)


def test_a_thousand_levels_take_few_numbers() -> None:
    parts: list[list[float]] = []
    for second in range(1000):
        parts = with_level(parts, float(second), second % 7, 300.0)
    assert len(parts) <= PARTS + 2


def test_what_was_there_before_stays_as_it_was() -> None:
    before = [[0.0, 1.0, 5.0]]
    assert with_level(before, 2.0, 9, 300.0) == [[0.0, 2.0, 9.0]]
    assert before == [[0.0, 1.0, 5.0]]


def test_without_levels_there_is_no_peak() -> None:
    assert highest([]) == 0
