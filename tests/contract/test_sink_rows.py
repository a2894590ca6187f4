"""What every vector store must do with the rows it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from ingest.filters import parse_filter
from ingest.sinks.base import CollectionSpec, Query, VectorSink
from ingest.sinks.registry import connect_sink
from serve_app.core.errors import SetupError
from tests.contract.rows import EAST, NORTH, SOURCE, direction, keys_found, random_vectors, row
from tests.contract.stores import Measured

MANY = 17_000  # more than one answer of Milvus can hold
EDITS = 20


def test_a_new_collection_is_empty(sink: VectorSink, collection: str) -> None:
    assert sink.count(collection) == 0
    assert sink.search(collection, Query(EAST)) == []


def test_written_chunks_are_counted_at_once(sink: VectorSink, collection: str) -> None:
    assert sink.upsert(collection, [row("a"), row("b")]) == 2
    assert sink.count(collection) == 2


def test_writing_nothing_is_fine(sink: VectorSink, collection: str) -> None:
    assert sink.upsert(collection, []) == 0
    sink.delete(collection, [])
    assert sink.existing(collection, []) == {}
    assert sink.vectors(collection, []) == {}


def test_writing_a_key_again_replaces_the_whole_chunk(sink: VectorSink, collection: str) -> None:
    old = {"text": "old text", "page_number": 7, "heading_path": ("Old",), "language": "de", "part": "3"}
    sink.upsert(collection, [row("a", EAST, **old, metadata={"year": 2023, "old": True}, tenant="x", digest="d1")])
    sink.upsert(collection, [row("a", NORTH, text="new text", page_number=None, heading_path=(), metadata={"year": 1})])

    (hit,) = sink.search(collection, Query(NORTH))
    assert (hit.text, hit.page_number, hit.heading_path, hit.language) == ("new text", None, (), "")
    assert hit.metadata == {"year": 1}
    assert hit.score == pytest.approx(1, abs=1e-4)
    assert sink.count(collection) == 1
    assert sink.existing(collection, ["a"]) == {"a": ""}
    assert sink.search(collection, Query(NORTH, conditions=parse_filter("meta.old = true"))) == []


def test_a_chunk_that_moves_to_another_tenant_is_not_stored_twice(sink: VectorSink, collection: str) -> None:
    for number in range(8):
        sink.upsert(collection, [row("a", tenant=f"t{number}")])

    assert sink.count(collection) == 1
    assert [keys_found(sink, collection, Query(EAST, tenant=f"t{number}")) for number in (0, 6, 7)] == [[], [], ["a"]]


def test_of_one_key_twice_in_a_batch_the_last_is_kept(sink: VectorSink, collection: str) -> None:
    written = sink.upsert(collection, [row("a", text="first"), row("b"), row("a", text="last")])

    assert written == 2
    assert sink.count(collection) == 2
    assert [hit.text for hit in sink.search(collection, Query(EAST)) if hit.key == "a"] == ["last"]


def test_existing_names_the_stored_among_the_asked_keys_with_their_digests(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", digest="one"), row("b"), row("c", digest="three")])
    assert sink.existing(collection, ["c", "x", "a", "a", '"] or key != "']) == {"a": "one", "c": "three"}


def test_keys_of_names_every_chunk_of_one_source_and_no_other(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", source="file:///x"), row("b", source="file:///x"), row("c", source="file:///X")])
    assert sink.keys_of(collection, "file:///x") == {"a", "b"}
    assert sink.keys_of(collection, "file:///nothing") == set()


def test_two_documents_shown_under_one_name_are_kept_apart(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", source="file:///hr/README.md", source_file="README.md")])
    sink.upsert(collection, [row("b", source="file:///it/README.md", source_file="README.md")])

    assert sink.keys_of(collection, "file:///hr/README.md") == {"a"}
    conditions = parse_filter("source_file = README.md")
    assert set(keys_found(sink, collection, Query(EAST, conditions=conditions))) == {"a", "b"}


def test_deleted_chunks_are_gone_and_unknown_keys_are_fine(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a"), row("b"), row("c")])
    sink.delete(collection, ["a", "c", "x"])

    assert sink.count(collection) == 1
    assert sink.existing(collection, ["a", "b", "c"]) == {"b": ""}
    assert keys_found(sink, collection, Query(EAST)) == ["b"]


def test_a_deleted_chunk_can_be_written_again(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", text="first life", page_number=4)])
    sink.delete(collection, ["a"])
    sink.upsert(collection, [row("a", text="second life")])

    assert sink.count(collection) == 1
    assert [hit.text for hit in sink.search(collection, Query(EAST))] == ["second life"]


def test_vectors_come_back_as_they_were_written(sink: VectorSink, collection: str) -> None:
    vectors = random_vectors(300)
    sink.upsert(collection, [row(f"k{number}", vector) for number, vector in enumerate(vectors)])

    found = sink.vectors(collection, [*(f"k{number}" for number in range(300)), "x"])
    assert found.keys() == {f"k{number}" for number in range(300)}
    assert all(np.array_equal(found[f"k{number}"], vector) for number, vector in enumerate(vectors))
    assert {vector.dtype for vector in found.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dimensions", [2_560, 4_096])
def test_wide_vectors_are_kept_as_exactly_as_documented(
    sink: VectorSink, spec: CollectionSpec, measured: Measured, dimensions: int
) -> None:
    sink.ensure(replace(spec, dimensions=dimensions))
    vectors = random_vectors(20, dimensions)
    sink.upsert(spec.name, [row(f"k{number:02}", vector) for number, vector in enumerate(vectors)])
    sink.finish(spec.name)

    found = sink.vectors(spec.name, [f"k{number:02}" for number in range(20)])
    errors = np.abs(np.stack([found[f"k{number:02}"] for number in range(20)]) - vectors)
    assert errors.max() < 1e-3
    assert bool(errors.max() == 0) is measured.exact_above_2000_dimensions
    expected = np.argsort(-(vectors @ vectors[3]))[:5]
    hits = sink.search(spec.name, Query(vectors[3]))
    assert [hit.key for hit in hits] == [f"k{number:02}" for number in expected]
    assert hits[0].score == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("with_vectors", [True, False])
def test_a_scan_reads_every_chunk_once(sink: VectorSink, collection: str, with_vectors: bool) -> None:
    vectors = random_vectors(700)
    place = {"page_number": None, "page_end": 9, "heading_path": ("一", ""), "language": "zh", "text": "租金"}
    sink.upsert(collection, [row(f"k{number:03}", vector, **place) for number, vector in enumerate(vectors)])

    stored = {chunk.key: chunk for chunk in sink.scan(collection, with_vectors=with_vectors)}
    assert sorted(stored) == [f"k{number:03}" for number in range(700)]
    one = stored["k123"]
    assert (one.chunk_id, one.source, one.source_file) == ("lease_k123", SOURCE, "contracts/lease.md")
    assert (one.page_number, one.page_end, one.heading_path, one.language, one.text) == (
        None,
        9,
        ("一", ""),
        "zh",
        "租金",
    )
    assert all((chunk.vector is not None) is with_vectors for chunk in stored.values())
    assert np.array_equal(sink.vectors(collection, ["k123"])["k123"], vectors[123])


@pytest.mark.parametrize("limit", [0, 1, 256, 257, 699, 9_999])
def test_a_scan_stops_at_its_limit(sink: VectorSink, collection: str, limit: int) -> None:
    sink.upsert(collection, [row(f"k{number}") for number in range(700)])
    assert len({chunk.key for chunk in sink.scan(collection, limit, with_vectors=False)}) == min(limit, 700)


def test_a_scan_that_is_left_early_leaves_the_store_usable(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a"), row("b")])
    pages = sink.scan(collection)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert sink.count(collection) == 2


def test_a_text_of_punctuation_only_can_be_stored(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", text="……，。！")])
    assert keys_found(sink, collection, Query(EAST)) == ["a"]


def test_a_text_of_three_byte_characters_is_kept_whole_up_to_the_limit(sink: VectorSink, collection: str) -> None:
    text = "租" * 21_845  # 65,535 bytes
    sink.upsert(collection, [row("a", text=text, title=text, context=text, source=text)])
    (hit,) = sink.search(collection, Query(EAST))
    assert (hit.text, hit.source) == (text, text)
    assert sink.keys_of(collection, text) == {"a"}


@pytest.mark.parametrize("field", ["text", "tenant"])
def test_what_is_longer_than_the_limit_is_refused_and_not_cut(
    sink: VectorSink, collection: str, measured: Measured, field: str
) -> None:
    limit = {"text": measured.longest_text_bytes, "tenant": measured.longest_tenant_bytes}[field]
    too_long = "租" * ((limit or 66_000) // 3 + 1)
    outcome = "stored"
    try:
        sink.upsert(collection, [row("a"), row("b", EAST, **{field: too_long})])
    except SetupError as error:
        outcome = error.message

    expected = "stored" if limit is None else f"`{field}` of chunk lease_b has {len(too_long.encode())} bytes"
    assert expected in outcome
    assert "租" not in outcome
    assert sink.count(collection) == (2 if limit is None else 0)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "\x01\x7f\u2028", "'a':1 \\ & | !", "😀" * 300, "x" * 5_000])
def test_any_characters_can_be_stored_in_every_field(sink: VectorSink, collection: str, text: str) -> None:
    fields = dict.fromkeys(("text", "title", "context", "source", "source_file", "chunk_id", "part"), text)
    sink.upsert(collection, [row("a", EAST, **fields, heading_path=(text,), metadata={"said": text})])
    assert len(sink.search(collection, Query(EAST))) == 1
    assert sink.keys_of(collection, text) == {"a"}
    filtered = Query(EAST, conditions=parse_filter("meta.said != nothing and source_file != nothing"))
    assert keys_found(sink, collection, filtered) == ["a"]


def test_more_than_a_request_may_hold_goes_in_with_one_call(sink: VectorSink, collection: str) -> None:
    context = "租" * 20_000
    rows = [row(f"k{number}", direction(1, number), context=context) for number in range(1_150)]
    assert sum(len(one.chunk.context.encode()) for one in rows) > 64 * 2**20

    assert sink.upsert(collection, rows) == 1_150
    assert sink.count(collection) == 1_150


def test_thousands_of_chunks_of_one_source_go_in_and_are_all_found(sink: VectorSink, collection: str) -> None:
    vectors = random_vectors(MANY)
    keys = [f"k{number:05}" for number in range(MANY)]
    rows = [row(key, vector, ordinal=number) for number, (key, vector) in enumerate(zip(keys, vectors, strict=True))]

    assert sink.upsert(collection, rows) == MANY
    assert sink.count(collection) == MANY
    assert sink.existing(collection, [*keys, "x"]).keys() == set(keys)
    assert sink.keys_of(collection, SOURCE) == set(keys)
    assert keys_found(sink, collection, Query(vectors[1_234], limit=1)) == ["k01234"]
    sink.finish(collection)
    assert sink.count(collection) == MANY
    assert keys_found(sink, collection, Query(vectors[1_234], limit=1)) == ["k01234"]
    sink.delete(collection, keys[500:])
    assert sink.count(collection) == 500


def test_a_vector_of_another_size_is_refused(sink: VectorSink, collection: str) -> None:
    short = np.full(4, 0.5, dtype=np.float32)
    with pytest.raises(SetupError):
        sink.upsert(collection, [row("a", short)])
    assert sink.count(collection) == 0


def test_what_a_job_has_counted_at_its_end_is_found_by_a_search_on_another_connection(
    sink: VectorSink, uri: str, collection: str
) -> None:
    for number in range(EDITS):
        sink.upsert(collection, [row(f"k{number}")])
        sink.delete(collection, [f"k{number - 1}"])
        assert sink.count(collection) == 1
        with closing(connect_sink(uri)) as other:
            assert keys_found(other, collection, Query(EAST)) == [f"k{number}"]


def test_a_passage_that_is_replaced_as_a_job_does_it_is_found_by_every_search_of_others(
    sink: VectorSink, uri: str, collection: str
) -> None:
    sink.upsert(collection, [row("k0")])
    assert sink.existing(collection, ["k0"])
    done = Event()

    def fewest_found() -> int:
        with closing(connect_sink(uri)) as other:
            fewest = len(keys_found(other, collection, Query(EAST)))
            while not done.is_set():
                fewest = min(fewest, len(keys_found(other, collection, Query(EAST))))
        return fewest

    with ThreadPoolExecutor() as pool:
        searches = [pool.submit(fewest_found) for _ in range(2)]
        try:
            for number in range(1, EDITS):
                sink.upsert(collection, [row(f"k{number}")])
                assert sink.keys_of(collection, SOURCE) >= {f"k{number}"}
                sink.delete(collection, [f"k{number - 1}"])
        finally:
            done.set()
        assert [search.result() for search in searches] == [1, 1]
