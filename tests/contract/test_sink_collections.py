"""What every vector store must know about its collections and aliases."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from ingest.sinks.base import CollectionSpec, Query, VectorSink
from ingest.sinks.registry import connect_sink
from serve_app.core.errors import SetupError
from tests.contract.rows import EAST, row

READERS, FLIPS = 3, 25


def test_ensuring_a_collection_again_keeps_what_is_in_it(sink: VectorSink, spec: CollectionSpec) -> None:
    sink.ensure(spec)
    sink.upsert(spec.name, [row("a")])
    sink.ensure(spec)
    assert sink.count(spec.name) == 1


def test_a_collection_knows_what_it_was_made_for(sink: VectorSink, spec: CollectionSpec) -> None:
    assert sink.spec_of(spec.name) is None
    made = dataclasses.replace(spec, fingerprint="f" * 64)
    sink.ensure(made)
    assert sink.spec_of(spec.name) == made


@pytest.mark.parametrize(
    "change", [{"model": "other/model"}, {"dimensions": 4}, {"fingerprint": "f1"}], ids=lambda it: str(*it)
)
def test_a_collection_made_for_other_vectors_is_refused(
    sink: VectorSink, spec: CollectionSpec, change: dict[str, object]
) -> None:
    sink.ensure(dataclasses.replace(spec, **change))  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=r"--recreate") as caught:
        sink.ensure(spec)
    named = [str(value) for value in (spec.model, spec.dimensions, *change.values())]
    assert all(value in caught.value.message for value in named)


def test_of_jobs_that_make_one_collection_at_the_same_time_all_succeed(
    sink: VectorSink, uri: str, spec: CollectionSpec
) -> None:
    def ensure(_: int) -> None:
        with closing(connect_sink(uri)) as own:
            own.ensure(spec)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure, range(4)))
    assert sink.count(spec.name) == 0


def test_a_dropped_collection_can_be_made_again_for_another_size(sink: VectorSink, spec: CollectionSpec) -> None:
    sink.ensure(spec)
    sink.upsert(spec.name, [row("a")])
    sink.drop(spec.name)
    sink.drop(spec.name)

    sink.ensure(dataclasses.replace(spec, dimensions=4))
    assert sink.count(spec.name) == 0


def test_names_are_those_of_collections_and_not_of_aliases(sink: VectorSink, pair: tuple[str, str]) -> None:
    sink.point("contract_alias", pair[0])
    names = sink.names()
    assert set(pair) <= set(names)
    assert names == sorted(names)
    assert "contract_alias" not in names


@pytest.mark.parametrize("name", ["", "my-notes", "1st", "a" * 256, "a b", "笔记", 'a"; DROP TABLE x; --'])
def test_a_name_that_the_store_cannot_use_is_refused_with_the_rule(
    sink: VectorSink, pair: tuple[str, str], name: str
) -> None:
    with pytest.raises(SetupError, match="use letters, digits and _"):
        sink.ensure(CollectionSpec(name, 8, "m"))
    with pytest.raises(SetupError, match="use letters, digits and _"):
        sink.point(name, pair[0])


def test_an_unknown_collection_is_named(sink: VectorSink) -> None:
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.count("nowhere")
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.search("nowhere", Query(EAST))
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.upsert("nowhere", [row("a")])
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        list(sink.scan("nowhere"))
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.point("contract_alias", "nowhere")
    assert sink.spec_of("nowhere") is None
    assert sink.target_of("nowhere") is None


def test_an_alias_stands_for_its_collection_wherever_that_is_read_or_written(
    sink: VectorSink, pair: tuple[str, str]
) -> None:
    old, _ = pair
    sink.point("contract_alias", old)
    sink.upsert("contract_alias", [row("a", digest="d"), row("b")])
    sink.upsert("contract_alias", [row("a", digest="e")])
    sink.delete("contract_alias", ["b"])

    assert sink.target_of("contract_alias") == old
    assert sink.target_of(old) is None
    assert sink.count(old) == sink.count("contract_alias") == 1
    assert sink.existing("contract_alias", ["a"]) == {"a": "e"}
    assert len(sink.vectors("contract_alias", ["a"])) == 1
    assert sink.keys_of("contract_alias", row("a").chunk.source) == {"a"}
    assert [chunk.key for chunk in sink.scan("contract_alias")] == ["a"]
    assert [hit.key for hit in sink.search("contract_alias", Query(EAST))] == ["a"]
    known = sink.spec_of("contract_alias")
    assert known == dataclasses.replace(sink.spec_of(old) or known, name="contract_alias")  # type: ignore[type-var]
    sink.finish("contract_alias")


def test_an_alias_moves_and_may_move_to_where_it_is(sink: VectorSink, pair: tuple[str, str]) -> None:
    for target in (pair[0], pair[1], pair[1], pair[0]):
        sink.point("contract_alias", target)
        assert sink.target_of("contract_alias") == target


def test_a_collection_takes_its_aliases_with_it(sink: VectorSink, pair: tuple[str, str]) -> None:
    old, new = pair
    sink.point("contract_alias", old)
    sink.drop(old)
    assert sink.target_of("contract_alias") is None
    assert old not in sink.names()
    sink.point("contract_alias", new)
    assert sink.count("contract_alias") == 0


def test_an_alias_is_not_taken_for_a_collection(sink: VectorSink, pair: tuple[str, str]) -> None:
    old, new = pair
    sink.point("contract_alias", old)
    with pytest.raises(SetupError, match=f"`contract_alias` is an alias of collection `{old}`"):
        sink.ensure(CollectionSpec("contract_alias", 8, "m"))
    with pytest.raises(SetupError, match=f"`contract_alias` is an alias of collection `{old}`"):
        sink.drop("contract_alias")
    with pytest.raises(SetupError, match=f"`contract_alias` is an alias of collection `{old}`"):
        sink.point("contract_other", "contract_alias")
    with pytest.raises(SetupError, match=f"`{new}` cannot become an alias"):
        sink.point(new, old)
    assert sink.names().count(old) == 1


def test_searches_through_an_alias_that_moves_see_one_collection_whole(
    sink: VectorSink, uri: str, pair: tuple[str, str]
) -> None:
    for name in pair:
        sink.upsert(name, [row(f"{name}-{number}") for number in range(5)])
        assert sink.count(name) == 5  # as a job does before it takes searches over
    whole = {frozenset(f"{name}-{number}" for number in range(5)) for name in pair}
    sink.point("contract_alias", pair[0])
    done = Event()

    def read(_: int) -> set[frozenset[str]]:
        seen: set[frozenset[str]] = set()
        with closing(connect_sink(uri)) as own:
            while not done.is_set():
                seen.add(frozenset(hit.key for hit in own.search("contract_alias", Query(EAST, limit=20))))
                seen.add(frozenset(chunk.key for chunk in own.scan("contract_alias", with_vectors=False)))
        return seen

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(read, number) for number in range(READERS)]
        try:
            for number in range(FLIPS):
                sink.point("contract_alias", pair[number % 2])
                sink.search("contract_alias", Query(EAST))
        finally:
            done.set()
        seen = set().union(*(reader.result() for reader in readers))
    assert seen == whole
