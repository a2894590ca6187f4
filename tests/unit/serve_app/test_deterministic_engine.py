"""The test double itself: what it promises is what makes swapped, lost or mixed-up texts fail a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority
from tests.engines.deterministic import DeterministicEngine, Vector, unit_vector
from tests.unit.serve_app.slices import text, texts


def step(engine: DeterministicEngine) -> Sequence[tuple[int, Vector]]:
    return engine.step(StepBounds.full(engine.step_tokens)).finished


def run_to_end(engine: DeterministicEngine, count: int) -> dict[int, Vector]:
    vectors: dict[int, Vector] = {}
    while len(vectors) < count:
        vectors |= dict(step(engine))
    return vectors


@given(st.permutations(range(8)), st.integers(1, 60))
def test_a_vector_depends_on_its_text_alone(order: list[int], step_tokens: int) -> None:
    given_texts = texts(10, [1, 5, 2, 40, 3, 3, 17, 9])
    engine = DeterministicEngine(step_tokens=step_tokens)
    for key in order:
        engine.add(key, given_texts[key], Priority(key % 2))
    for key, vector in run_to_end(engine, 8).items():
        np.testing.assert_array_equal(vector, unit_vector(given_texts[key], 8))
    assert max(engine.tokens_of_steps) <= step_tokens
    assert sum(engine.tokens_of_steps) == 80


def test_vectors_have_unit_norm_and_differ_for_different_texts() -> None:
    vectors = [unit_vector(ids, 16) for ids in (text(1, 3), text(1, 4), text(2, 3), text(1, 3)[::-1].copy())]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    assert len({vector.tobytes() for vector in vectors}) == 4


def test_interactive_texts_overtake_bulk_texts_that_have_not_begun() -> None:
    engine = DeterministicEngine(step_tokens=10)
    for key, priority in enumerate([Priority.BULK, Priority.BULK, Priority.INTERACTIVE]):
        engine.add(key, text(key, 10), priority)
    assert [key for _ in range(3) for key, _ in step(engine)] == [2, 0, 1]


def test_a_text_longer_than_a_step_goes_on_before_anything_else() -> None:
    engine = DeterministicEngine(step_tokens=10)
    engine.add(0, text(0, 25), Priority.BULK)
    assert step(engine) == []
    engine.add(1, text(1, 10), Priority.INTERACTIVE)
    assert [[key for key, _ in step(engine)] for _ in range(3)] == [[], [0], [1]]


def test_a_step_keeps_its_bounds() -> None:
    engine = DeterministicEngine(step_tokens=100)
    for key, (tokens, priority) in enumerate([(80, Priority.BULK), (80, Priority.BULK), (30, Priority.INTERACTIVE)]):
        engine.add(key, text(key, tokens), priority)
    assert engine.step(StepBounds(bulk_tokens=20, text_tokens=25)).tokens == 25 + 20
    assert engine.step(StepBounds(bulk_tokens=0, text_tokens=25)).tokens == 5 + 25


def test_a_dropped_text_is_forgotten_and_unknown_keys_are_fine() -> None:
    engine = DeterministicEngine()
    engine.add(0, text(0, 5), Priority.BULK)
    engine.add(1, text(1, 5), Priority.BULK)
    engine.drop([0, 99])
    assert list(run_to_end(engine, 1)) == [1]
    assert engine.held_tokens(Priority.BULK) == 0
