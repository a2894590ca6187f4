"""Small steps on one thread, all others on every thread there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.step_threads import FEWEST_TOKENS, SMALL_STEP_FLOPS, StepThreads

TINY = SMALL_STEP_FLOPS / 1000  # operations a token: a step of 1,000 tokens is no longer small


def test_a_small_step_takes_one_thread_and_a_large_one_all_of_them() -> None:
    asked: list[int] = []
    threads = StepThreads(asked.append, 8, TINY)

    threads.add(1, 400)
    threads.fit()
    threads.add(2, 600)
    threads.fit()
    threads.remove([2])
    threads.fit()

    assert asked == [1, 8, 1]


def test_the_number_is_told_only_when_it_changes() -> None:
    asked: list[int] = []
    threads = StepThreads(asked.append, 4, TINY)

    for key in range(5):
        threads.add(key, 10)
        threads.fit()

    assert asked == [1]


def test_a_model_that_outgrows_the_caches_gets_all_threads_even_for_one_token() -> None:
    asked: list[int] = []
    threads = StepThreads(asked.append, 4, SMALL_STEP_FLOPS / FEWEST_TOKENS)

    threads.add(1, 1)
    threads.fit()

    assert asked == []


def test_with_one_thread_nothing_is_ever_told() -> None:
    asked: list[int] = []
    threads = StepThreads(asked.append, 1, TINY)

    for tokens in (1, 10_000):
        threads.add(tokens, tokens)
        threads.fit()

    assert asked == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5000)), max_size=30))
def test_what_has_left_no_longer_counts(texts: list[tuple[int, int]]) -> None:
    asked: list[int] = []
    threads = StepThreads(asked.append, 2, TINY)

    for number, (key, tokens) in enumerate(texts):
        threads.add(number, tokens)
        threads.fit()
        threads.remove([number, key + 1000])  # the second is unknown, as one may be that was dropped
    threads.fit()

    assert [2, *asked][-1] == 1
