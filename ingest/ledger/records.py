"""What the ledger remembers. No record holds text of a document, a vector, a key or a masked value.

Times are seconds since 1970 (UTC). `collection` is the name users know, the alias; `physical` is the collection of
the store behind it, of which one alias has several while a new one is being built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DeadStage = Literal["parse", "chunk", "mask", "embed", "write"]
CollectionStage = Literal["building", "live", "old"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source whose chunks are all stored, and from which version of it they were made."""

    source: str  # absolute URI
    version: str  # sha256:… or etag:…; equal means nothing to do
    root: str  # the folder or address it was found under: pruning looks at no other
    size: int  # bytes
    modified_ns: int  # since 1970; 0 where the store does not tell
    chunks: int
    run_id: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A source of which something could not be stored, and why. A collection has at most one for each source."""

    collection: str
    source: str
    source_file: str  # for people
    version: str
    stage: DeadStage
    reason: str  # a short fixed word, for counting
    message: str  # for people
    permanent: bool  # trying the same version again would end the same way
    root: str = ""
    chunk_keys: tuple[str, ...] = ()  # the chunks it is about; empty: the whole source
    attempts: int = 0  # this and the two below are the ledger's to say, whatever is buried
    first_seen: float = 0.0
    last_seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    collection: str
    physical: str
    fingerprint: str  # JSON
    status: str  # "running", "interrupted" once a later run finds it unfinished, or what it was finished with
    started: float
    finished: float | None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectionState:
    alias: str
    physical: str
    fingerprint: str  # JSON
    state: CollectionStage
    created: float
