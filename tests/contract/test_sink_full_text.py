"""BM25 and hybrid search, in the stores that have it, and the refusal of the others."""

from __future__ import annotations

import pytest

from ingest.filters import parse_filter
from ingest.sinks.base import Query, VectorSink
from serve_app.core.errors import SetupError
from tests.contract.rows import EAST, NORTH, direction, keys_found, row

full_text = pytest.mark.usefixtures("_full_text")


@full_text
def test_hybrid_search_finds_an_exact_chinese_term_that_dense_search_misses(sink: VectorSink, collection: str) -> None:
    crowd = [row(f"n{i:02}", direction(1, 0.001 * i), text=f"第{i}条 租金按月支付给出租人。") for i in range(70)]
    term = row("term", direction(-1), text="逾期付款的，承租人应支付违约金。")
    sink.upsert(collection, [*crowd, term])

    assert "term" not in keys_found(sink, collection, Query(EAST, limit=5))
    hits = sink.search(collection, Query(EAST, limit=5, text="违约金"))
    assert "term" in [hit.key for hit in hits[:2]]
    assert len(hits) == 5
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@full_text
def test_hybrid_search_with_words_that_occur_nowhere_is_dense_search(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", EAST), row("b", NORTH)])
    assert keys_found(sink, collection, Query(NORTH, text="zyxwv")) == ["b", "a"]
    assert keys_found(sink, collection, Query(NORTH, text=" ")) == ["b", "a"]


@full_text
def test_a_replaced_text_is_no_longer_found_by_its_old_words(sink: VectorSink, collection: str) -> None:
    others = [row(f"o{i}", direction(1, 0.01 * i), text="monthly rent") for i in range(3)]
    sink.upsert(collection, [*others, row("a", NORTH, text="违约金条款")])
    sink.upsert(collection, [row("a", NORTH, text="other words")])

    assert keys_found(sink, collection, Query(EAST, limit=3, text="违约金")) == ["o0", "o1", "o2"]


@full_text
def test_words_alone_find_the_chunks_that_hold_them_the_rare_word_first(sink: VectorSink, collection: str) -> None:
    rows = [row(f"common{number}", text="租金按月支付 the rent is due") for number in range(20)]
    rows += [row("rare", text="the deposit: 逾期付款的违约金"), row("none", text="unrelated")]
    sink.upsert(collection, rows)

    hits = sink.search(collection, Query(None, limit=30, text="the 违约金"))
    assert hits[0].key == "rare"
    assert {hit.key for hit in hits} == {one.chunk.key for one in rows} - {"none"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@full_text
@pytest.mark.parametrize("text", ["", " ", "……，。！", "zyxwv", "' & | ! <-> :* \\", "'; DROP TABLE x; --", "a\x00b"])
def test_words_alone_that_occur_nowhere_find_nothing(sink: VectorSink, collection: str, text: str) -> None:
    sink.upsert(collection, [row("a", text="The rent 租金")])
    assert sink.search(collection, Query(None, text=text)) == []


@full_text
@pytest.mark.parametrize("vector", [None, EAST], ids=["words", "hybrid"])
def test_words_heed_filter_tenant_and_limit(sink: VectorSink, collection: str, vector: object) -> None:
    rows = [row(f"k{number}", text="rent", tenant="ab"[number % 2], ordinal=number) for number in range(20)]
    sink.upsert(collection, rows)

    conditions = parse_filter("ordinal >= 10")
    query = Query(vector, limit=10, text="rent", tenant="a", conditions=conditions)  # type: ignore[arg-type]
    assert set(keys_found(sink, collection, query)) == {"k10", "k12", "k14", "k16", "k18"}
    assert len(sink.search(collection, Query(vector, limit=3, text="rent"))) == 3  # type: ignore[arg-type]


@full_text
def test_words_are_found_in_any_case_after_the_indexes_are_built(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", text="Qwen3-Embedding 的维度"), row("b", text="nothing")])
    sink.finish(collection)
    assert keys_found(sink, collection, Query(None, text="QWEN3-embedding")) == ["a"]
    assert keys_found(sink, collection, Query(None, text="维度")) == ["a"]


@pytest.mark.usefixtures("_no_full_text")
@pytest.mark.parametrize("vector", [None, EAST], ids=["words", "hybrid"])
def test_a_store_without_full_text_says_which_version_has_it(sink: VectorSink, collection: str, vector: object) -> None:
    sink.upsert(collection, [row("a")])
    with pytest.raises(SetupError, match=r"no BM25, which came with 2\.5"):
        sink.search(collection, Query(vector, text="rent"))  # type: ignore[arg-type]
