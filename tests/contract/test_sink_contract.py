"""What every vector store must do; it runs unchanged against each of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.filters import parse_filter
from ingest.records import Chunk
from ingest.sinks.base import CollectionSpec, Query, Row, VectorSink
from serve_app.core.errors import SetupError

DIMENSIONS = 8
NASTY_NAMES = [
    'it\'s "quoted".md',
    "back\\slash\\new.md",
    '" or key != "',
    "' or 1 == 1 --",
    "line\nbreak\tand tab.md",
    "{key} %s $1.md",
    "合同（二零二四）/租赁😀.pdf",
    "not-utf8-\udcb2\udce2.txt",
]


def direction(*parts: float) -> NDArray[np.float32]:
    """A unit vector along the given leading coordinates."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[: len(parts)] = parts
    return (vector / np.linalg.norm(vector)).astype(np.float32)


EAST, NORTH = direction(1), direction(0, 1)


def row(key: str, vector: NDArray[np.float32] = EAST, **changes: object) -> Row:
    chunk = Chunk(
        key=key,
        chunk_id=f"lease_{key}",
        source="file:///contracts/lease.md",
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
    return Row(dataclasses.replace(chunk, **changes), vector)  # type: ignore[arg-type]


def keys_found(sink: VectorSink, collection: str, query: Query) -> list[str]:
    return [hit.key for hit in sink.search(collection, query)]


def test_a_new_collection_is_empty(sink: VectorSink, collection: str) -> None:
    assert sink.count(collection) == 0
    assert sink.search(collection, Query(EAST)) == []


def test_written_chunks_are_counted_at_once(sink: VectorSink, collection: str) -> None:
    assert sink.upsert(collection, [row("a"), row("b")]) == 2
    assert sink.count(collection) == 2


def test_writing_nothing_is_fine(sink: VectorSink, collection: str) -> None:
    assert sink.upsert(collection, []) == 0
    sink.delete(collection, [])
    assert sink.existing(collection, []) == set()


def test_writing_a_key_again_replaces_the_whole_chunk(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", EAST, text="old text", page_number=7, heading_path=("Old",))])
    sink.upsert(collection, [row("a", NORTH, text="new text", page_number=None, heading_path=())])

    (hit,) = sink.search(collection, Query(NORTH))
    assert (hit.text, hit.page_number, hit.heading_path) == ("new text", None, ())
    assert hit.score == pytest.approx(1, abs=1e-4)
    assert sink.count(collection) == 1


def test_a_replaced_text_is_no_longer_found_by_its_old_words(sink: VectorSink, collection: str) -> None:
    others = [row(f"o{i}", direction(1, 0.01 * i), text="monthly rent") for i in range(3)]
    sink.upsert(collection, [*others, row("a", NORTH, text="违约金条款")])
    sink.upsert(collection, [row("a", NORTH, text="other words")])

    assert keys_found(sink, collection, Query(EAST, limit=3, text="违约金")) == ["o0", "o1", "o2"]


def test_of_one_key_twice_in_a_batch_the_last_is_kept(sink: VectorSink, collection: str) -> None:
    written = sink.upsert(collection, [row("a", text="first"), row("b"), row("a", text="last")])

    assert written == 2
    assert sink.count(collection) == 2
    assert [hit.text for hit in sink.search(collection, Query(EAST)) if hit.key == "a"] == ["last"]


def test_existing_names_the_stored_among_the_asked_keys(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a"), row("b"), row("c")])
    assert sink.existing(collection, ["c", "x", "a", "a", '"] or key != "']) == {"a", "c"}


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
    assert sink.existing(collection, ["a", "b", "c"]) == {"b"}
    assert keys_found(sink, collection, Query(EAST)) == ["b"]


def test_a_deleted_chunk_can_be_written_again(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", text="first life", page_number=4)])
    sink.delete(collection, ["a"])
    sink.upsert(collection, [row("a", text="second life")])

    assert sink.count(collection) == 1
    assert [hit.text for hit in sink.search(collection, Query(EAST))] == ["second life"]


def test_dense_hits_come_best_first_with_their_cosine(sink: VectorSink, collection: str) -> None:
    vectors = {"far": direction(-1), "near": direction(3, 4), "exact": EAST, "right": NORTH}
    sink.upsert(collection, [row(key, vector) for key, vector in vectors.items()])

    hits = sink.search(collection, Query(EAST, limit=3))
    assert [hit.key for hit in hits] == ["exact", "near", "right"]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.6, 0], abs=1e-4)


def test_a_hit_tells_where_it_comes_from(sink: VectorSink, collection: str) -> None:
    path = ("第一章 总则", 'A "quoted" part', "back\\slash, [comma]", "")
    sink.upsert(
        collection, [row("a", heading_path=path, page_number=12, page_end=13, text="租金按月支付。\n\t“€”😀\\")]
    )

    (hit,) = sink.search(collection, Query(EAST))
    assert (hit.key, hit.chunk_id, hit.source_file) == ("a", "lease_a", "contracts/lease.md")
    assert (hit.page_number, hit.heading_path) == (12, path)
    assert hit.text == "租金按月支付。\n\t“€”😀\\"


def test_a_chunk_without_page_or_headings_comes_back_without(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", page_number=None, page_end=None, heading_path=())])
    (hit,) = sink.search(collection, Query(EAST))
    assert (hit.page_number, hit.heading_path) == (None, ())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("page_number = 2", {"p2"}),
        ("page_number != 2", {"p1", "p3"}),
        ("page_number > 2", {"p3"}),
        ("page_number >= 2", {"p2", "p3"}),
        ("page_number < 2", {"p1"}),
        ("page_number <= 2", {"p1", "p2"}),
        ("page_number > -1", {"p1", "p2", "p3"}),
        ("page_number = 0", set()),
        ("ordinal >= 2 and tokens < 13", {"p2"}),
        ("title = Guide", {"p3"}),
        ("title != Guide", {"p1", "p2", "none"}),
        ("section_title = 租金", {"p2"}),
        ("format = pdf and source_file = 'a b.pdf' and chunk_id = lease_p1", {"p1"}),
        ("section_title = ''", {"none"}),
    ],
)
def test_a_filter_leaves_exactly_the_matching_chunks(
    sink: VectorSink, collection: str, expression: str, expected: set[str]
) -> None:
    rows = [
        row("p1", page_number=1, ordinal=1, tokens=11, source_file="a b.pdf", format="pdf"),
        row("p2", page_number=2, ordinal=2, tokens=12, heading_path=("合同", "租金")),
        row("p3", page_number=3, ordinal=3, tokens=13, title="Guide"),
        row("none", page_number=None, ordinal=0, tokens=10, heading_path=()),
    ]
    sink.upsert(collection, rows)
    conditions = parse_filter(expression)

    dense = Query(EAST, limit=10, conditions=conditions)
    assert set(keys_found(sink, collection, dense)) == expected
    assert set(keys_found(sink, collection, dataclasses.replace(dense, text="rent"))) == expected


@pytest.mark.parametrize("name", NASTY_NAMES, ids=range(len(NASTY_NAMES)))
def test_a_source_with_any_name_is_found_alone(sink: VectorSink, collection: str, name: str) -> None:
    mine = row("mine", source=name, source_file=name)
    sink.upsert(collection, [mine, row("other"), row("prefix", source=name[:-1], source_file=name[:-1])])

    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    conditions = parse_filter(f"source_file = '{escaped}'")
    assert sink.keys_of(collection, name) == {"mine"}
    assert keys_found(sink, collection, Query(EAST, limit=10, conditions=conditions)) == ["mine"]


def test_hybrid_search_finds_an_exact_chinese_term_that_dense_search_misses(sink: VectorSink, collection: str) -> None:
    crowd = [row(f"n{i:02}", direction(1, 0.001 * i), text=f"第{i}条 租金按月支付给出租人。") for i in range(70)]
    term = row("term", direction(-1), text="逾期付款的，承租人应支付违约金。")
    sink.upsert(collection, [*crowd, term])

    assert "term" not in keys_found(sink, collection, Query(EAST, limit=5))
    hits = sink.search(collection, Query(EAST, limit=5, text="违约金"))
    assert "term" in [hit.key for hit in hits[:2]]
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hybrid_search_with_words_that_occur_nowhere_is_dense_search(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", EAST), row("b", NORTH)])
    assert keys_found(sink, collection, Query(NORTH, text="zyxwv")) == ["b", "a"]
    assert keys_found(sink, collection, Query(NORTH, text=" ")) == ["b", "a"]


def test_a_text_of_punctuation_only_can_be_stored(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", text="……，。！")])
    assert keys_found(sink, collection, Query(EAST)) == ["a"]


def test_a_long_text_of_three_byte_characters_is_kept_whole(sink: VectorSink, collection: str) -> None:
    text = "租" * 21_845  # 65,535 bytes
    sink.upsert(collection, [row("a", text=text)])
    (hit,) = sink.search(collection, Query(EAST))
    assert hit.text == text


def test_thousands_of_chunks_go_in_and_are_found_in_one_call(sink: VectorSink, collection: str) -> None:
    vectors = np.random.default_rng(7).standard_normal((3_000, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = [f"k{i:04}" for i in range(len(vectors))]
    rows = [row(key, vector, ordinal=i) for i, (key, vector) in enumerate(zip(keys, vectors, strict=True))]

    assert sink.upsert(collection, rows) == 3_000
    assert sink.count(collection) == 3_000
    assert sink.existing(collection, [*keys, "x"]) == set(keys)
    assert sink.keys_of(collection, "file:///contracts/lease.md") == set(keys)
    assert keys_found(sink, collection, Query(vectors[1_234], limit=1)) == ["k1234"]
    sink.delete(collection, keys[:2_500])
    assert sink.count(collection) == 500


def test_ensuring_a_collection_again_keeps_what_is_in_it(sink: VectorSink, spec: CollectionSpec) -> None:
    sink.ensure(spec)
    sink.upsert(spec.name, [row("a")])
    sink.ensure(spec)
    assert sink.count(spec.name) == 1


def test_a_collection_knows_what_it_was_made_for(sink: VectorSink, spec: CollectionSpec) -> None:
    assert sink.spec_of(spec.name) is None
    sink.ensure(spec)
    assert sink.spec_of(spec.name) == spec


@pytest.mark.parametrize("change", [{"model": "other/model"}, {"dimensions": 4}], ids=["model", "dimensions"])
def test_a_collection_made_for_other_vectors_is_refused(
    sink: VectorSink, spec: CollectionSpec, change: dict[str, object]
) -> None:
    sink.ensure(dataclasses.replace(spec, **change))  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=r"--recreate") as caught:
        sink.ensure(spec)
    named = [str(value) for value in (spec.model, spec.dimensions, *change.values())]
    assert all(value in caught.value.message for value in named)


def test_a_dropped_collection_can_be_made_again_for_another_size(sink: VectorSink, spec: CollectionSpec) -> None:
    sink.ensure(spec)
    sink.upsert(spec.name, [row("a")])
    sink.drop(spec.name)
    sink.drop(spec.name)

    sink.ensure(dataclasses.replace(spec, dimensions=4))
    assert sink.count(spec.name) == 0


def test_an_unknown_collection_is_named(sink: VectorSink) -> None:
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.count("nowhere")
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.search("nowhere", Query(EAST))
    with pytest.raises(SetupError, match="no collection `nowhere`"):
        sink.upsert("nowhere", [row("a")])


def test_a_vector_of_another_size_is_refused(sink: VectorSink, collection: str) -> None:
    short = np.full(4, 0.5, dtype=np.float32)
    with pytest.raises(SetupError):
        sink.upsert(collection, [row("a", short)])
    assert sink.count(collection) == 0
