"""Rows for tests of sinks."""

from __future__ import annotations

import dataclasses

import numpy as np

from ingest.records import Chunk
from ingest.sinks.base import Query, Row, Vector, VectorSink

DIMENSIONS = 8
SOURCE = "file:///contracts/lease.md"


def direction(*parts: float) -> Vector:
    """A unit vector along the given leading coordinates."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[: len(parts)] = parts
    return (vector / np.linalg.norm(vector)).astype(np.float32)


EAST, NORTH = direction(1), direction(0, 1)


def row(key: str, vector: Vector = EAST, **changes: object) -> Row:
    """A chunk of a lease; `changes` are to the row or to its chunk."""
    chunk = Chunk(
        key=key,
        chunk_id=f"lease_{key}",
        source=SOURCE,
        source_file="contracts/lease.md",
        format="md",
        title="Lease",
        heading_path=("Lease", "Rent"),
        page_number=1,
        page_end=1,
        ordinal=0,
        tokens=3,
        text="The rent is due monthly.",
    )
    own = {name: changes.pop(name) for name in ("tenant", "run_id", "digest") if name in changes}
    return Row(dataclasses.replace(chunk, **changes), vector, **own)  # type: ignore[arg-type]


def random_vectors(count: int, dimensions: int = DIMENSIONS, seed: int = 7) -> Vector:
    """(count, dimensions), unit norm."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def keys_found(sink: VectorSink, collection: str, query: Query) -> list[str]:
    return [hit.key for hit in sink.search(collection, query)]
