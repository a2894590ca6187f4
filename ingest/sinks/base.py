"""The port every vector store is reached through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.filters import Condition
from ingest.records import Chunk, Metadata

Vector = NDArray[np.float32]  # (dimensions,), unit norm


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection is made for; vectors of another size, model or pipeline never mix into it."""

    name: str
    dimensions: int
    model: str
    fingerprint: str = ""  # of everything that decides what is stored for a file: see `ingest.fingerprint`


@dataclass(frozen=True, slots=True)
class Row:
    chunk: Chunk
    vector: Vector
    tenant: str = ""  # whom it belongs to; the partition key where the store has one
    run_id: str = ""
    digest: str = ""  # of everything stored beside the vector: another one means write again, not embed again


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` alone is dense search; with `text`, BM25 joins in and the two rankings are fused (RRF).

    With `text` and `vector` None, BM25 alone. `tenant` None searches all of them.
    """

    vector: Vector | None
    limit: int = 5
    text: str | None = None
    conditions: tuple[Condition, ...] = ()
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """`score` is the cosine similarity for dense search, BM25 or the fused rank score otherwise; higher is better."""

    score: float
    key: str
    chunk_id: str
    source: str
    source_file: str
    page_number: int | None
    page_end: int | None
    heading_path: tuple[str, ...]
    text: str
    language: str = ""
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored chunk as `scan` reads it: where it stands, what it says, and its vector if that was asked for."""

    key: str
    chunk_id: str
    source: str
    source_file: str
    page_number: int | None
    page_end: int | None
    heading_path: tuple[str, ...]
    language: str
    text: str
    vector: Vector | None


class VectorSink(Protocol):
    """One vector store. Every call may raise SetupError (store not there, wrong collection) and nothing vaguer.

    Wherever a collection is read, searched or written, its alias does as well.
    """

    def ensure(self, spec: CollectionSpec) -> None:
        """Create the collection unless it exists; SetupError if it exists for another model, size or fingerprint."""

    def spec_of(self, collection: str) -> CollectionSpec | None:
        """What the collection was made for; None if there is none of that name, or it does not say."""

    def existing(self, collection: str, keys: Sequence[str]) -> dict[str, str]:
        """Which of the keys are already stored, each with its digest."""

    def vectors(self, collection: str, keys: Sequence[str]) -> Mapping[str, Vector]:
        """The stored vectors of those keys that are there, as exactly as the store keeps them."""

    def keys_of(self, collection: str, source: str) -> set[str]:
        """Keys of every stored chunk of one source, by its identity."""

    def upsert(self, collection: str, rows: Sequence[Row]) -> int:
        """Write rows; writing a key again replaces it whole. Returns how many distinct keys were written.

        When it returns, the rows outlive a crash of this process, and the next read sees them.
        """

    def delete(self, collection: str, keys: Sequence[str]) -> None: ...

    def count(self, collection: str) -> int:
        """Exact number of stored chunks, including those just written."""

    def search(self, collection: str, query: Query) -> list[Hit]:
        """Best hits first. SetupError that names the needed version if the store cannot do what the query asks.

        It sees all that this sink has written. What others have written it sees once any other kind of read has; of
        the last seconds before that, it may miss some.
        """

    def scan(self, collection: str, limit: int | None = None, with_vectors: bool = True) -> Iterator[Stored]:
        """Every stored chunk once, or the first `limit` of them, in no particular order; memory holds one page.

        Without vectors it is much cheaper, as they are most of what a store holds. Chunks written or deleted
        meanwhile may be there or not.
        """

    def finish(self, collection: str) -> None:
        """Whatever makes searches fast after much has been written: build indexes, compact. May take minutes."""

    def names(self) -> list[str]:
        """Every collection of the store (no aliases), sorted."""

    def target_of(self, alias: str) -> str | None:
        """The collection that an alias stands for; None if there is no such alias."""

    def point(self, alias: str, collection: str) -> None:
        """Make the alias stand for the collection, in one step that no search can fall into.

        SetupError if a collection itself has that name.
        """

    def drop(self, collection: str) -> None:
        """Remove the collection with everything in it, and the aliases on it; a missing one is fine."""

    def close(self) -> None: ...
