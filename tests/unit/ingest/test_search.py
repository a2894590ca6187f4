from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from ingest import search as searching
from ingest.sinks.base import CollectionSpec, Query, Vector, VectorSink
from serve_app.core.errors import SetupError
from tests.unit.ingest.endpoint_server import Endpoint, Told, serving, tokens_of, vector_of

QUERY = Query(np.ones(4, dtype=np.float32))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as endpoint:
        yield endpoint


def at(endpoint: Endpoint, key: str = "") -> searching.Endpoint:
    return searching.Endpoint(endpoint.url, key)


def vector_for(text: str) -> Vector:
    return vector_of(np.array(tokens_of(text)))


def store(monkeypatch: pytest.MonkeyPatch, known: CollectionSpec | None) -> VectorSink:
    sink: VectorSink = create_autospec(VectorSink, instance=True)
    sink.spec_of.return_value = known  # type: ignore[attr-defined]
    sink.target_of.return_value = None  # type: ignore[attr-defined]

    @contextmanager
    def opened(uri: str, create: bool) -> Iterator[tuple[VectorSink, str]]:
        assert not create
        yield sink, uri

    monkeypatch.setattr(searching, "open_sink", opened)
    return sink


def test_a_query_comes_with_the_model_that_embedded_it(endpoint: Endpoint) -> None:
    vector, model = searching.embed_query(at(endpoint), "", "text", None, None)
    assert model == "qwen"
    assert np.array_equal(vector, vector_for("text"))
    (body,) = endpoint.bodies
    assert body == {"model": "qwen", "input": ["text"], "encoding_format": "base64", "input_type": "query"}


def test_a_query_under_an_alias_belongs_to_the_served_model(endpoint: Endpoint) -> None:
    _, model = searching.embed_query(at(endpoint), "alias@preset", "text", None, None)
    assert model == "qwen"
    assert endpoint.bodies[0]["model"] == "alias@preset"


def test_an_instruction_and_a_size_go_with_the_query(endpoint: Endpoint) -> None:
    vector, _ = searching.embed_query(at(endpoint), "qwen", "text", "Find it", 4)
    assert len(vector) == 4
    assert (endpoint.bodies[0]["instruction"], endpoint.bodies[0]["dimensions"]) == ("Find it", 4)


def test_the_api_key_goes_with_every_request(endpoint: Endpoint) -> None:
    searching.embed_query(at(endpoint, "ek_1"), "qwen", "text", None, None)
    assert endpoint.keys == ["Bearer ek_1"] * 2


def test_many_queries_go_in_several_requests(endpoint: Endpoint) -> None:
    texts = [f"question {index}" for index in range(searching.QUERIES_AT_ONCE + 3)]
    vectors = searching.embed_queries(at(endpoint), "qwen", texts, "Find it")
    assert np.array_equal(vectors, np.stack([vector_for(text) for text in texts]))
    assert [len(body["input"]) for body in endpoint.bodies] == [searching.QUERIES_AT_ONCE, 3]


@pytest.mark.parametrize(
    "answer",
    [
        Told(200, "<html>"),
        Told(200, []),
        Told(200, {"data": []}),
        Told(200, {"data": [{"index": 0, "embedding": None}]}),
        Told(200, {"data": [{"index": 0, "embedding": ["x"]}]}),
    ],
    ids=["page", "list", "empty", "null", "words"],
)
def test_an_answer_of_another_program_is_told(endpoint: Endpoint, answer: Told) -> None:
    endpoint.told.extend([Told(200, {"id": "m"}), answer])
    with pytest.raises(SetupError, match=f"{endpoint.url} is no embedding endpoint"):
        searching.embed_query(at(endpoint), "m", "text", None, None)


def test_a_refused_query_is_told_with_the_server_s_reason(endpoint: Endpoint) -> None:
    endpoint.told.append(Told.error(404, "Not served here; served: qwen."))
    with pytest.raises(SetupError, match="The cluster refused: Not served here; served: qwen"):
        searching.embed_query(at(endpoint), "m", "text", None, None)


def test_bytes_of_a_terminal_that_are_no_text_do_not_end_it(endpoint: Endpoint) -> None:
    searching.embed_query(at(endpoint), "qwen", "a\udcff", None, None)
    assert endpoint.bodies[0]["input"] == ["a?"]


@pytest.mark.parametrize("url", ["http://[::1", "http://here:port", "here:8000"])
def test_an_endpoint_that_is_no_url_is_told(url: str) -> None:
    with pytest.raises(SetupError, match="endpoint"):
        searching.embed_query(searching.Endpoint(url), "m", "text", None, None)


@pytest.mark.parametrize(
    "known",
    [CollectionSpec("kb", 4, "m"), CollectionSpec("kb", 4, "m", "f"), None],
    ids=["same", "pipeline", "unknown"],
)
def test_a_collection_of_the_query_s_model_is_searched(
    monkeypatch: pytest.MonkeyPatch, known: CollectionSpec | None
) -> None:
    sink = store(monkeypatch, known)
    searching.search("milvus-lite:x", "kb", QUERY, "m")
    sink.search.assert_called_once_with("kb", QUERY)  # type: ignore[attr-defined]


@pytest.mark.parametrize("known", [CollectionSpec("kb", 4, "other"), CollectionSpec("kb", 8, "m")])
def test_a_collection_made_for_other_vectors_is_refused(monkeypatch: pytest.MonkeyPatch, known: CollectionSpec) -> None:
    sink = store(monkeypatch, known)
    with pytest.raises(SetupError, match=f"`kb` was made for {known.model}, {known.dimensions} .* of m, 4 dimensions"):
        searching.search("milvus-lite:x", "kb", QUERY, "m")
    sink.search.assert_not_called()  # type: ignore[attr-defined]


def test_words_alone_are_searched_whatever_model_the_collection_has(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = store(monkeypatch, CollectionSpec("kb", 8, "other"))
    searching.search("milvus-lite:x", "kb", Query(None, text="warranty"), "m")
    sink.search.assert_called_once()  # type: ignore[attr-defined]


def test_searching_a_folder_that_does_not_exist_does_not_make_it(tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    with pytest.raises(SetupError, match=f"no folder `{folder}`"):
        searching.search(f"milvus-lite:{folder}", "kb", QUERY, "m")
    assert not folder.exists()


def test_the_command_s_search_goes_by_the_collection_behind_the_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = store(monkeypatch, CollectionSpec("kb_2", 4, "m"))
    sink.target_of.return_value = "kb_2"  # type: ignore[attr-defined]
    searching.search("milvus-lite:x", "kb", QUERY, "m")
    sink.search.assert_called_once_with("kb_2", QUERY)  # type: ignore[attr-defined]
