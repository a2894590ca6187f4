"""A search by alias while the alias goes over to another collection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from ingest.search import search_named
from ingest.sinks.base import CollectionSpec, Hit, Query, VectorSink
from serve_app.core.errors import SetupError


@dataclass
class Flipping:
    """A store whose alias `kb` goes over from `old` to `new` when the search has read what `old` was made for."""

    moves: bool = True
    old_is_kept: bool = True
    new_is_there: bool = True
    target: str = "old"
    asked: list[tuple[str, Query]] = field(default_factory=list)

    def target_of(self, alias: str) -> str | None:
        return self.target if alias == "kb" else None

    def spec_of(self, collection: str) -> CollectionSpec:
        named = self.target if collection == "kb" else collection
        if self.moves:
            self.target = "new"
        return CollectionSpec(collection, 4 if named == "old" else 8, named)

    def search(self, collection: str, query: Query) -> list[Hit]:
        named = self.target if collection == "kb" else collection
        self.asked.append((named, query))
        if not (self.old_is_kept if named == "old" else self.new_is_there):
            raise SetupError(f"There is no collection `{named}`")
        return [Hit(1.0, named, "", "", "", None, None, (), "")]


def query_for(known: CollectionSpec | None) -> Query:
    assert known is not None
    return Query(np.ones(known.dimensions, dtype=np.float32))


def searched(store: Flipping) -> tuple[list[str], list[tuple[str, int]]]:
    """(where the hits are from, which collection was asked with a vector of which size)"""
    hits = search_named(cast("VectorSink", store), "kb", query_for)
    return [hit.key for hit in hits], [
        (name, len(query.vector)) for name, query in store.asked if query.vector is not None
    ]


def test_a_search_ends_in_the_collection_that_it_has_begun_with_when_the_alias_moves() -> None:
    assert searched(Flipping()) == (["old"], [("old", 4)])


def test_a_search_whose_collection_is_dropped_after_a_flip_asks_the_new_one_with_a_query_for_it() -> None:
    assert searched(Flipping(old_is_kept=False)) == (["new"], [("old", 4), ("new", 8)])


def test_a_query_refused_for_the_old_collection_is_asked_of_the_new_one() -> None:
    store = Flipping()

    def only_new(known: CollectionSpec | None) -> Query:
        if known is None or known.model != "new":
            raise SetupError("made for another model")
        return query_for(known)

    assert [hit.key for hit in search_named(cast("VectorSink", store), "kb", only_new)] == ["new"]


@pytest.mark.parametrize(
    ("store", "asked"),
    [
        (Flipping(moves=False, old_is_kept=False), ["old"]),
        (Flipping(old_is_kept=False, new_is_there=False), ["old", "new"]),
    ],
    ids=["no flip", "new one missing"],
)
def test_a_search_that_fails_for_another_reason_than_a_flip_is_told_at_once(store: Flipping, asked: list[str]) -> None:
    with pytest.raises(SetupError, match=f"no collection `{asked[-1]}`"):
        searched(store)
    assert [name for name, _ in store.asked] == asked
