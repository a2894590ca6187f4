"""Small steps on one thread, all others on every thread there is."""

from __future__ import annotations

from serve_app.engines.step_threads import FEWEST_TOKENS, SMALL_STEP_FLOPS, StepThreads

TINY = SMALL_STEP_FLOPS / 1000  # operations a token: a step of 1,000 tokens is no longer small


def asked_for(most: int, flops_per_token: float, *steps: int) -> list[int]:
    """The numbers of threads that are asked for in the course of steps of so many tokens."""
    asked: list[int] = []
    threads = StepThreads(asked.append, most, flops_per_token)
    for tokens in steps:
        threads.fit(tokens)
    return asked


def test_a_small_step_takes_one_thread_and_a_large_one_all_of_them() -> None:
    assert asked_for(8, TINY, 400, 1000, 400) == [1, 8, 1]


def test_the_number_is_told_only_when_it_changes() -> None:
    assert asked_for(4, TINY, 10, 20, 30) == [1]


def test_a_model_that_outgrows_the_caches_gets_all_threads_even_for_one_token() -> None:
    assert asked_for(4, SMALL_STEP_FLOPS / FEWEST_TOKENS, 1) == []


def test_with_one_thread_nothing_is_ever_told() -> None:
    assert asked_for(1, TINY, 1, 10_000) == []
