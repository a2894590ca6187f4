"""The port every vector store is reached through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.filters import Condition
from ingest.records import Chunk


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection is made for; vectors of another size or model never mix into it."""

    name: str
    dimensions: int
    model: str


@dataclass(frozen=True, slots=True)
class Row:
    chunk: Chunk
    vector: NDArray[np.float32]  # (dimensions,), unit norm


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` alone is dense search; with `text`, BM25 joins in and the two rankings are fused (RRF)."""

    vector: NDArray[np.float32]
    limit: int = 5
    text: str | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """`score` is the cosine similarity for dense search, the fused rank score for hybrid search."""

    score: float
    key: str
    chunk_id: str
    source_file: str
    page_number: int | None
    heading_path: tuple[str, ...]
    text: str


class VectorSink(Protocol):
    """One vector store. Every call may raise SetupError (store not there, wrong collection) and nothing vaguer."""

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection unless it exists; SetupError if it exists for another model or size."""

    def spec_of(self, collection: str) -> CollectionSpec | None:
        """What the collection was made for; None if there is none of that name, or it does not say."""

    def existing(self, collection: str, keys: Sequence[str]) -> set[str]:
        """Which of the keys are already stored."""

    def keys_of(self, collection: str, source: str) -> set[str]:
        """Keys of every stored chunk of one document, by its identity."""

    def upsert(self, collection: str, rows: Sequence[Row]) -> int:
        """Write rows; writing a key again replaces it. Returns how many distinct keys were written."""

    def delete(self, collection: str, keys: Sequence[str]) -> None: ...

    def count(self, collection: str) -> int:
        """Exact number of stored chunks, including those just written."""

    def search(self, collection: str, query: Query) -> list[Hit]:
        """Best hits first."""

    def drop(self, collection: str) -> None:
        """Remove the collection with everything in it; a missing one is fine."""

    def close(self) -> None: ...
