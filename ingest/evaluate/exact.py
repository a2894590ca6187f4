"""Exact search at several widths at once, over vectors that are read once and not kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.sinks.base import Stored
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors

BLOCK_ROWS = 4_096


class _Best(NamedTuple):
    """The best so far for every query, in no order."""

    scores: NDArray[np.float32]  # (queries, up to depth)
    rows: NDArray[np.int64]


class ExactSearch:
    """The `depth` nearest by cosine of every query, at each of the widths."""

    def __init__(self, queries: Vectors, widths: Sequence[int], depth: int) -> None:
        self._queries = {width: _units(queries, width) for width in widths}
        self._depth = depth
        nothing = _Best(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
        self._best = dict.fromkeys(widths, nothing)
        self._keys: list[str] = []

    def add(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Compare every query with (rows, dimensions)."""
        rows = np.arange(len(self._keys), len(self._keys) + len(keys))
        self._keys += keys
        for width, queries in self._queries.items():
            scores = queries @ _units(vectors, width).T
            self._best[width] = self._better(self._best[width], scores, np.broadcast_to(rows, scores.shape))

    def rankings(self, width: int) -> list[list[str]]:
        """For every query the keys of the nearest, best first."""
        best = self._best[width]
        order = np.argsort(-best.scores, axis=1, kind="stable")
        return [[self._keys[row] for row in rows] for rows in np.take_along_axis(best.rows, order, axis=1)]

    def _better(self, known: _Best, scores: NDArray[np.float32], rows: NDArray[np.int64]) -> _Best:
        both = _Best(np.hstack([known.scores, scores]), np.hstack([known.rows, rows]))
        if both.scores.shape[1] <= self._depth:
            return both
        kept = np.argpartition(-both.scores, self._depth - 1, axis=1)[:, : self._depth]
        return _Best(np.take_along_axis(both.scores, kept, axis=1), np.take_along_axis(both.rows, kept, axis=1))


def search_exactly(queries: Vectors, stored: Iterable[Stored], widths: Sequence[int], depth: int) -> ExactSearch:
    """Over everything stored, in blocks. Raises SetupError for a chunk without a vector."""
    search = ExactSearch(queries, widths, depth)
    rows = iter(stored)
    while block := list(islice(rows, BLOCK_ROWS)):
        vectors = [one.vector for one in block if one.vector is not None]
        if len(vectors) < len(block):
            raise SetupError("The store gives no vectors of this collection, so it cannot be searched exactly.")
        search.add([one.key for one in block], np.stack(vectors))
    return search


def _units(vectors: Vectors, width: int) -> Vectors:
    """(n, width): the leading columns, renormalised also at full width, as a store may keep rounded vectors."""
    head = np.ascontiguousarray(vectors[:, :width], dtype=np.float32)
    norms = np.linalg.norm(head, axis=1, keepdims=True)
    units: Vectors = head / np.maximum(norms, np.finfo(np.float32).tiny)
    return units
