from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ingest.embedding.base import HttpAddress
from ingest.evaluate.exact import ExactSearch, search_exactly
from ingest.evaluate.questions import read_questions
from ingest.evaluate.report import save, show
from ingest.evaluate.run import DEFAULT_MODES, MODES, Evaluation, Plan, evaluate
from ingest.sinks.base import CollectionSpec, Hit, Query, Stored, Vector, VectorSink
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors
from tests.unit.ingest.endpoint_server import CARD, DIMENSIONS, Endpoint, serving, tokens_of, vector_of

SECTIONS = 12
NEEDS_VERSION = "This Milvus is 2.3.5; BM25 needs 2.5."


def vector_for(text: str) -> Vector:
    """What the endpoint answers, of unit length."""
    vector = vector_of(np.array(tokens_of(text)))
    unit: Vector = vector / np.float32(np.linalg.norm(vector))
    return unit


def chunk(section: int, text: str) -> Stored:
    path = ("Guide", f"Section {section}")
    return Stored(f"k{section}", f"guide_{section}", "file:///g", "guide.md", 1, 1, path, "en", text, vector_for(text))


def stored_chunks() -> list[Stored]:
    """The vector of a chunk is that of its heading path as a query, but for the last two, which have each other's."""
    paths = [f"Guide > Section {section}" for section in range(SECTIONS)]
    return [chunk(section, text) for section, text in enumerate([*paths[:-2], paths[-1], paths[-2]])]


class Store:
    """The part of a sink that evaluation uses."""

    def __init__(self, chunks: list[Stored], words: bool = True) -> None:
        self.chunks = chunks
        self.words = words
        self.spec: CollectionSpec | None = CollectionSpec("kb_1", DIMENSIONS, "qwen")
        self.asked: list[Query] = []
        self.scans: list[bool] = []

    def sink(self) -> VectorSink:
        sink: VectorSink = create_autospec(VectorSink, instance=True)
        sink.target_of.return_value = "kb_1"  # type: ignore[attr-defined]
        sink.spec_of.side_effect = lambda _: self.spec  # type: ignore[attr-defined]
        sink.scan.side_effect = self.scan  # type: ignore[attr-defined]
        sink.search.side_effect = self.search  # type: ignore[attr-defined]
        return sink

    def scan(self, collection: str, limit: int | None = None, with_vectors: bool = True) -> Iterator[Stored]:
        assert (collection, limit) == ("kb_1", None)  # an alias could move meanwhile
        self.scans.append(with_vectors)
        yield from (one if with_vectors else replace(one, vector=None) for one in self.chunks)

    def search(self, collection: str, query: Query) -> list[Hit]:
        assert collection == "kb_1"
        if query.text is not None and not self.words:
            raise SetupError(NEEDS_VERSION)
        self.asked.append(query)
        return [
            Hit(1.0, one.key, one.chunk_id, one.source, one.source_file, 1, 1, one.heading_path, one.text)
            for one in self.chunks[: query.limit]
        ]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as endpoint:
        yield endpoint


def measured(endpoint: Endpoint, store: Store, plan: Plan) -> Evaluation:
    return evaluate(store.sink(), HttpAddress(endpoint.url), plan)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 20), st.integers(1, 25))
def test_exact_search_in_blocks_finds_what_sorting_everything_finds(
    seed: int, rows: int, block: int, depth: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((rows, 8)).astype(np.float32)
    queries = generator.standard_normal((3, 8)).astype(np.float32)
    search = ExactSearch(queries, [8, 4], depth)
    for start in range(0, rows, block):
        search.add([str(row) for row in range(rows)][start : start + block], vectors[start : start + block])
    for width in (8, 4):
        assert search.rankings(width) == [nearest(query[:width], vectors[:, :width], depth) for query in queries]


def nearest(query: Vector, vectors: Vectors, depth: int) -> list[str]:
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1)
    return [str(row) for row in np.argsort(-cosines)[:depth]]


def test_more_chunks_than_a_block_are_all_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.evaluate.exact.BLOCK_ROWS", 5)
    chunks = stored_chunks()
    queries = np.stack([vector_for(one.text) for one in chunks])
    search = search_exactly(queries, iter(chunks), [DIMENSIONS], 1)
    assert search.rankings(DIMENSIONS) == [[one.key] for one in chunks]


def test_a_store_that_gives_no_vectors_cannot_be_searched_exactly() -> None:
    with pytest.raises(SetupError, match="gives no vectors"):
        search_exactly(np.ones((1, 8), np.float32), [replace(stored_chunks()[0], vector=None)], [8], 1)


def test_known_items_are_measured_at_every_width_and_in_every_mode(endpoint: Endpoint) -> None:
    store = Store(stored_chunks())
    found = measured(endpoint, store, Plan("kb", widths=(2, 8), modes=MODES))
    assert (found.chunks, len(found.questions), found.is_known_item, found.unmatched_answers) == (12, 12, True, 0)
    assert [(scores.mode, scores.dimensions) for scores in found.scores] == [
        ("dense", 8),
        ("dense", 2),
        ("index", 8),
        ("bm25", None),
        ("hybrid", 8),
    ]
    dense, narrow, index, *_ = found.scores
    assert dense.recall[1].mean == pytest.approx(10 / 12)
    assert narrow.mrr.mean <= dense.mrr.mean
    assert index.recall[1].mean == pytest.approx(1 / 12)
    assert index.recall[10].mean == pytest.approx(10 / 12)
    assert index.mrr.mean == pytest.approx(sum(1 / rank for rank in range(1, 11)) / 12)
    assert dense.recall[1].low < dense.recall[1].mean < dense.recall[1].high


def test_the_questions_are_embedded_once_and_as_queries(endpoint: Endpoint) -> None:
    store = Store(stored_chunks())
    measured(endpoint, store, Plan("kb", instruction="Find it"))
    (body,) = endpoint.bodies
    assert (len(body["input"]), body["input_type"], body["instruction"]) == (12, "query", "Find it")
    assert "dimensions" not in body
    assert store.scans == [False, True]


def test_every_mode_asks_the_store_with_what_belongs_to_it(endpoint: Endpoint) -> None:
    store = Store(stored_chunks())
    measured(endpoint, store, Plan("kb", limit=1, modes=("index", "bm25", "hybrid"), cutoffs=(3, 20)))
    asked = [(query.vector is not None, query.text is not None, query.limit) for query in store.asked]
    assert asked == [(True, False, 20), (False, True, 20), (True, True, 20)]


def test_vectors_stored_shorter_are_searched_with_shorter_queries(endpoint: Endpoint) -> None:
    store = Store([replace(one, vector=one.vector[:4]) for one in stored_chunks() if one.vector is not None])
    store.spec = CollectionSpec("kb_1", 4, "qwen")
    found = measured(endpoint, store, Plan("kb"))
    assert [scores.dimensions for scores in found.scores] == [4, None, 4]
    assert found.scores[0].recall[1].mean == pytest.approx(10 / 12)
    asked = np.stack([query.vector for query in store.asked if query.vector is not None])
    assert asked.shape == (12, 4)
    assert np.linalg.norm(asked, axis=1) == pytest.approx(1.0)


def test_a_model_that_cannot_be_cut_is_measured_at_its_own_width(endpoint: Endpoint) -> None:
    endpoint.card = {**CARD, "min_dimensions": DIMENSIONS}
    found = measured(endpoint, Store(stored_chunks()), Plan("kb", modes=("dense",)))
    assert [scores.dimensions for scores in found.scores] == [DIMENSIONS]
    with pytest.raises(SetupError, match=r"--dims 4: .* can be cut to 8 to 8"):
        measured(endpoint, Store(stored_chunks()), Plan("kb", widths=(4,)))


def test_a_width_that_is_not_stored_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(SetupError, match=r"--dims 16: .* can be cut to 2 to 8"):
        measured(endpoint, Store(stored_chunks()), Plan("kb", widths=(8, 16)))


def test_what_the_store_cannot_do_is_left_out_unless_it_was_asked_for(endpoint: Endpoint) -> None:
    store = Store(stored_chunks(), words=False)
    found = measured(endpoint, store, Plan("kb"))
    assert [scores.mode for scores in found.scores] == ["dense"] * len(found.scores)
    assert found.left_out == tuple(f"{mode}: {NEEDS_VERSION}" for mode in DEFAULT_MODES[1:])
    with pytest.raises(SetupError, match="BM25 needs"):
        measured(endpoint, store, Plan("kb", modes=("dense", "hybrid")))


def test_questions_of_a_file_are_measured_and_answers_without_chunks_are_misses(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    path = tmp_path / "questions.jsonl"
    answers = [{"source_file": "guide.md", "chunk_id": "guide_3"}, {"source_file": "gone.md"}]
    path.write_text(json.dumps({"question": "Guide > Section 3", "answers": answers}), encoding="utf-8")
    found = measured(endpoint, Store(stored_chunks()), Plan("kb", questions=path, widths=(8,), modes=("dense",)))
    assert (found.unmatched_answers, found.is_known_item) == (1, False)
    assert found.scores[0].recall[1].mean == 0.5
    assert found.scores[0].mrr.mean == 1.0


def test_questions_about_other_documents_are_told(endpoint: Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "a", "answers": [{"source_file": "gone.md"}]}', encoding="utf-8")
    with pytest.raises(SetupError, match="Of none of the answers is anything stored"):
        measured(endpoint, Store(stored_chunks()), Plan("kb", questions=path))


def test_a_collection_without_headings_needs_a_file(endpoint: Endpoint) -> None:
    store = Store([replace(one, heading_path=()) for one in stored_chunks()])
    with pytest.raises(SetupError, match=r"12 chunks of `kb` have no headings .* --questions"):
        measured(endpoint, store, Plan("kb"))


def test_a_collection_that_is_not_there_is_told(endpoint: Endpoint) -> None:
    store = Store([])
    store.spec = None
    with pytest.raises(SetupError, match="no collection `kb`"):
        measured(endpoint, store, Plan("kb"))


def test_a_collection_whose_model_s_name_is_now_an_alias_of_another_is_refused(endpoint: Endpoint) -> None:
    endpoint.card = {**CARD, "id": "newer"}
    with pytest.raises(SetupError, match=r"`kb` was made for qwen, .* only as an alias of another model, newer"):
        measured(endpoint, Store(stored_chunks()), Plan("kb"))
    assert endpoint.bodies == []


def test_an_evaluation_is_shown_and_saved_with_a_picture(endpoint: Endpoint, tmp_path: Path) -> None:
    found = measured(endpoint, Store(stored_chunks()), Plan("kb", widths=(8, 4)))
    shown = io.StringIO()
    show(Console(width=160, file=shown), found)
    text = shown.getvalue()
    assert "12 known items from headings, 12 chunks" in text
    assert "recall@10" in text
    assert "0.833" in text
    rows, questions, picture = save(tmp_path / "out", found)
    content = json.loads(rows.read_text(encoding="utf-8"))
    assert content["scores"][0]["recall"]["1"]["mean"] == pytest.approx(10 / 12)
    assert read_questions(questions) == list(found.questions)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_questions_saved_once_measure_the_same_again(endpoint: Endpoint, tmp_path: Path) -> None:
    first = measured(endpoint, Store(stored_chunks()), Plan("kb", limit=5, seed=7))
    _, questions, _ = save(tmp_path, first)
    again = measured(endpoint, Store(stored_chunks()), Plan("kb", questions=questions, seed=7))
    assert again.scores == first.scores


def test_without_matplotlib_the_extra_is_named(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(endpoint, Store(stored_chunks()), Plan("kb", modes=("dense",)))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SetupError, match=r"embed-cluster\[eval\]"):
        save(tmp_path, found)


def test_a_folder_that_cannot_be_written_is_named(endpoint: Endpoint, tmp_path: Path) -> None:
    found = measured(endpoint, Store(stored_chunks()), Plan("kb", modes=("dense",)))
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot be written to .*file"):
        save(tmp_path / "file" / "out", found)
