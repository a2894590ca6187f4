"""Slices for tests: texts that are told apart by their first token id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve_app.core.types import Priority, Slice, TokenIds, Vectors
from tests.engines.deterministic import unit_vector

FOREVER_S = 3600.0


def text(name: int, length: int) -> TokenIds:
    """`length` token ids, the first of which is `name`."""
    return np.array([name, *range(1, length)], dtype=np.int32)


def texts(first_name: int, lengths: Sequence[int]) -> list[TokenIds]:
    """Texts of these lengths, named in order from `first_name` on."""
    return [text(first_name + index, length) for index, length in enumerate(lengths)]


def interactive(first_name: int, lengths: Sequence[int], timeout_s: float = FOREVER_S) -> Slice:
    return Slice.of(texts(first_name, lengths), Priority.INTERACTIVE, timeout_s)


def bulk(first_name: int, lengths: Sequence[int], timeout_s: float = FOREVER_S) -> Slice:
    return Slice.of(texts(first_name, lengths), Priority.BULK, timeout_s)


def texts_of(slice_: Slice) -> list[TokenIds]:
    return [slice_.ids[start:stop] for start, stop in zip(slice_.offsets, slice_.offsets[1:], strict=False)]


def names_of(slice_: Slice) -> list[int]:
    return [int(ids[0]) for ids in texts_of(slice_)]


def right_vectors(given: Sequence[TokenIds], dimensions: int = 8) -> Vectors:
    """What a faultless engine answers: (texts, dimensions)."""
    return np.array([unit_vector(ids, dimensions) for ids in given])
