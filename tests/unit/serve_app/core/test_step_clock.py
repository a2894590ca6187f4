from __future__ import annotations

import pytest

from serve_app.core.step_clock import StepClock


def step(clock: StepClock, begin: float, end: float, tokens: int) -> None:
    clock.begin(begin)
    clock.end(end, tokens)


def test_the_speed_is_unknown_until_something_is_computed() -> None:
    clock = StepClock(100)
    assert clock.tokens_per_s == 0.0
    step(clock, 0.0, 1.0, 0)
    assert clock.tokens_per_s == 0.0
    step(clock, 1.0, 2.0, 50)
    assert clock.tokens_per_s == 50


def test_the_time_between_steps_does_not_count() -> None:
    clock = StepClock(100)
    step(clock, 0.0, 1.0, 100)
    step(clock, 1000.0, 1001.0, 100)
    assert clock.tokens_per_s == 100


def test_full_steps_say_more_about_the_speed_than_small_ones() -> None:
    small, full = StepClock(100), StepClock(100)
    for clock in (small, full):
        for second in range(20):
            step(clock, second, second + 1.0, 100)
    step(small, 20.0, 21.0, 1)
    step(full, 20.0, 20.5, 100)
    assert small.tokens_per_s == pytest.approx(100 - 0.099)
    assert full.tokens_per_s == pytest.approx(110)


def test_a_slow_first_step_of_few_tokens_is_soon_forgotten() -> None:
    clock = StepClock(4096)
    step(clock, 0.0, 0.3, 2)
    step(clock, 1.0, 1.1, 1000)
    assert clock.tokens_per_s == pytest.approx(10_000, rel=0.01)


def test_a_step_that_took_no_measurable_time_says_nothing() -> None:
    clock = StepClock(100)
    step(clock, 1.0, 1.0, 100)
    assert clock.tokens_per_s == 0.0


def test_only_time_in_steps_that_compute_nothing_makes_an_engine_stuck() -> None:
    clock = StepClock(100)
    assert not clock.is_stuck(1e9, after_s=10)
    clock.begin(0.0)
    assert not clock.is_stuck(10.0, after_s=10)
    assert clock.is_stuck(10.1, after_s=10)
    clock.end(6.0, 0)
    assert not clock.is_stuck(1e9, after_s=10)
    clock.begin(100.0)
    assert clock.is_stuck(104.1, after_s=10)
    clock.end(105.0, 1)
    assert not clock.is_stuck(1e9, after_s=10)
