"""What an engine must show before its replica takes traffic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serve_app.core.errors import SetupError
from serve_app.core.types import TokenIds
from serve_app.model.golden import Golden
from serve_app.model.readiness import AGREEMENT, check_engine
from tests.engines.deterministic import DeterministicEngine, Vector, unit_vector
from tests.unit.serve_app.profiles import QWEN3
from tests.unit.serve_app.slices import right_vectors, texts

DIMENSIONS = 16
PROFILE = replace(QWEN3, native_dimensions=DIMENSIONS, max_tokens=1000)
TEXTS = tuple(texts(10, [3, 1, 7]))


def engine(step_tokens: int = 256) -> DeterministicEngine:
    return DeterministicEngine(DIMENSIONS, step_tokens)


def test_a_sound_engine_passes() -> None:
    check_engine(engine(), PROFILE, None)


def test_the_check_computes_a_text_as_long_as_a_step() -> None:
    checked = engine()
    check_engine(checked, PROFILE, None)
    assert max(len(ids) for ids in checked.added) == 256
    assert max(checked.tokens_of_steps) == 256


@pytest.mark.parametrize(("max_tokens", "capacity"), [(50, 10**6), (1000, 50)])
def test_no_text_of_the_check_is_longer_than_what_fits(max_tokens: int, capacity: int) -> None:
    checked = DeterministicEngine(DIMENSIONS, 256, capacity_tokens=capacity)
    check_engine(checked, replace(PROFILE, max_tokens=max_tokens), None)
    assert max(len(ids) for ids in checked.added) == 50


def test_an_engine_of_another_size_is_refused() -> None:
    with pytest.raises(SetupError, match="does not give unit vectors of 16 dimensions"):
        check_engine(DeterministicEngine(8), PROFILE, None)


@pytest.mark.parametrize("factor", [0.9, np.nan])
def test_an_engine_without_unit_vectors_is_refused(factor: float) -> None:
    def vector_of(ids: TokenIds, dimensions: int) -> Vector:
        return unit_vector(ids, dimensions) * np.float32(factor)

    with pytest.raises(SetupError, match="does not give unit vectors"):
        check_engine(DeterministicEngine(DIMENSIONS, vector_of=vector_of), PROFILE, None)


def test_an_engine_whose_vectors_depend_on_the_batch_is_refused() -> None:
    broken = engine()
    broken._vector_of = lambda ids, size: unit_vector(ids[: 1 + len(broken.tokens_of_steps)], size)
    with pytest.raises(SetupError, match="another vector for a text among others"):
        check_engine(broken, PROFILE, None)


def rounded(vectors: NDArray[np.float32], by: float) -> NDArray[np.float32]:
    """Unit vectors that differ from the given ones by about so much in each number."""
    vectors = (vectors + by * np.sign(vectors)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_eight_bits_may_round_more_than_sixteen() -> None:
    golden = Golden("qwen3", TEXTS, rounded(right_vectors(TEXTS, DIMENSIONS), 0.05))
    check_engine(engine(), PROFILE, golden, AGREEMENT["fp8"])
    with pytest.raises(SetupError, match=r"at least 0\.998 is needed"):
        check_engine(engine(), PROFILE, golden)


def test_an_engine_that_gives_every_text_the_same_vector_is_refused() -> None:
    same = DeterministicEngine(DIMENSIONS, vector_of=lambda ids, size: unit_vector(ids[:0], size))
    with pytest.raises(SetupError, match="the same vector for different texts"):
        check_engine(same, PROFILE, None)


def test_reference_vectors_may_differ_by_the_rounding_of_another_gpu() -> None:
    check_engine(engine(), PROFILE, Golden("qwen3", TEXTS, rounded(right_vectors(TEXTS, DIMENSIONS), 0.003)))


def test_a_model_that_does_not_reproduce_one_of_its_reference_vectors_is_refused() -> None:
    vectors = right_vectors(TEXTS, DIMENSIONS)
    vectors[1] = vectors[0]
    with pytest.raises(SetupError, match="does not reproduce the reference vectors of other"):
        check_engine(engine(), PROFILE, Golden("other", TEXTS, vectors))


def test_reference_vectors_that_are_no_numbers_are_never_reproduced() -> None:
    vectors = right_vectors(TEXTS, DIMENSIONS)
    vectors[1] = np.nan
    with pytest.raises(SetupError, match="does not reproduce"):
        check_engine(engine(), PROFILE, Golden("qwen3", TEXTS, vectors))


def test_reference_vectors_of_another_size_are_refused() -> None:
    with pytest.raises(SetupError, match=r"have 8 dimensions and qwen3-embedding-0\.6b has 16"):
        check_engine(engine(), PROFILE, Golden("other", TEXTS, right_vectors(TEXTS, 8)))


@pytest.mark.parametrize("ids", [range(1001), [-1], [151_669]], ids=["too long", "negative", "unknown"])
def test_reference_texts_the_model_cannot_take_are_refused(ids: list[int]) -> None:
    text = np.array(ids, dtype=np.int32)
    with pytest.raises(SetupError, match="longer than 1000 tokens, the most"):
        check_engine(engine(), PROFILE, Golden("other", (text,), right_vectors([text], DIMENSIONS)))
