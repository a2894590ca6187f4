from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve_app.core.dimensions import check, cut
from serve_app.core.errors import UnsupportedDimensions
from serve_app.core.types import Vectors
from tests.unit.serve_app.profiles import MINILM, QWEN3

NATIVE = 16


def unit(rows: Vectors) -> Vectors:
    scaled: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


# No component is near zero, so every prefix has a direction of its own.
components = st.floats(0.125, 1.0, width=32).flatmap(lambda size: st.sampled_from([size, -size]))
unit_vectors = arrays(np.float32, st.tuples(st.integers(1, 5), st.just(NATIVE)), elements=components).map(unit)


@pytest.mark.parametrize(("asked", "answered"), [(None, 1024), (32, 32), (768, 768), (1024, 1024)])
def test_a_matryoshka_model_gives_every_size_from_its_least_to_its_native_one(asked: int | None, answered: int) -> None:
    assert check(QWEN3, asked) == answered


@pytest.mark.parametrize("asked", [-1, 0, 1, 31, 1025, 10**30])
def test_a_size_out_of_range_is_refused_with_the_range(asked: int) -> None:
    with pytest.raises(UnsupportedDimensions) as caught:
        check(QWEN3, asked)
    assert caught.value.message == f"`dimensions` is {asked}; qwen3-embedding-0.6b supports 32 to 1024."
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("asked", [383, 385, 32, 0])
def test_a_model_that_is_not_matryoshka_gives_its_native_size_only(asked: int) -> None:
    with pytest.raises(UnsupportedDimensions, match=r"all-minilm-l6-v2 supports only 384 \(it is not a Matryoshka"):
        check(MINILM, asked)


@pytest.mark.parametrize("asked", [None, 384])
def test_the_native_size_is_always_allowed(asked: int | None) -> None:
    assert check(MINILM, asked) == 384


def test_a_matryoshka_model_smaller_than_the_usual_least_size_offers_its_native_one() -> None:
    assert check(replace(QWEN3, native_dimensions=24), 24) == 24


@given(unit_vectors, st.integers(1, NATIVE))
def test_a_cut_vector_is_the_leading_part_scaled_to_unit_norm(vectors: Vectors, size: int) -> None:
    shorter = cut(vectors, size)
    head = vectors[:, :size].astype(np.float64)
    np.testing.assert_allclose(shorter, head / np.linalg.norm(head, axis=1, keepdims=True), rtol=1e-5)
    assert shorter.dtype == np.float32


@given(unit_vectors, st.integers(1, NATIVE), st.integers(1, NATIVE))
def test_a_cut_of_a_cut_equals_a_cut(vectors: Vectors, one: int, other: int) -> None:
    small, large = sorted((one, other))
    np.testing.assert_allclose(cut(cut(vectors, large), small), cut(vectors, small), rtol=1e-5)


def test_vectors_of_the_native_size_are_passed_on_untouched() -> None:
    vectors = np.full((2, NATIVE), 0.3, dtype=np.float32)  # not unit norm: scaling it would show
    assert cut(vectors, NATIVE) is vectors


def test_cutting_leaves_the_given_vectors_as_they_were() -> None:
    vectors = np.full((2, NATIVE), 0.25, dtype=np.float32)
    cut(vectors, 4)
    np.testing.assert_array_equal(vectors, np.full((2, NATIVE), 0.25, dtype=np.float32))


def test_a_prefix_of_zeros_stays_zeros() -> None:
    vectors = np.zeros((2, NATIVE), dtype=np.float32)
    vectors[:, -1] = 1.0
    np.testing.assert_array_equal(cut(vectors, 4), np.zeros((2, 4), dtype=np.float32))


def test_no_vectors_can_be_cut_too() -> None:
    assert cut(np.empty((0, NATIVE), dtype=np.float32), 4).shape == (0, 4)
