from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import create_autospec

import httpx
import numpy as np
import pytest

from ingest import search as searching
from ingest.sinks.base import CollectionSpec, Query, VectorSink
from serve_app.core.errors import SetupError

HERE = searching.Endpoint("http://here")
QUERY = Query(np.ones(4, dtype=np.float32))
ANSWER = {"data": [{"embedding": [1, 0.5]}], "model": "qwen"}


def answering(monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response) -> None:
    rest = iter(answers)
    monkeypatch.setattr(httpx, "request", lambda *_, **__: next(rest))


def store(monkeypatch: pytest.MonkeyPatch, known: CollectionSpec | None) -> VectorSink:
    sink: VectorSink = create_autospec(VectorSink, instance=True)
    sink.spec_of.return_value = known  # type: ignore[attr-defined]

    @contextmanager
    def opened(uri: str, create: bool) -> Iterator[tuple[VectorSink, str]]:
        assert not create
        yield sink, uri

    monkeypatch.setattr(searching, "open_sink", opened)
    return sink


def test_a_query_comes_with_the_model_that_embedded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, httpx.Response(200, json={"data": [{"id": "qwen"}]}), httpx.Response(200, json=ANSWER))
    assert searching.embed_query(HERE, "", "text", None, None) == ([1.0, 0.5], "qwen")


def test_a_query_under_an_alias_belongs_to_the_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, httpx.Response(200, json={"id": "qwen"}), httpx.Response(200, json=ANSWER))
    assert searching.embed_query(HERE, "alias@preset", "text", None, None) == ([1.0, 0.5], "qwen")


def test_the_api_key_goes_with_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []

    def record(*_: object, headers: dict[str, str], **__: object) -> httpx.Response:
        sent.append(headers["authorization"])
        return httpx.Response(200, json={"id": "qwen", **ANSWER})

    monkeypatch.setattr(httpx, "request", record)
    searching.embed_query(searching.Endpoint("http://here", "ek_1"), "qwen", "text", None, None)
    assert sent == ["Bearer ek_1"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json={"data": [{"embedding": None}], "model": "m"}),
        httpx.Response(200, json={"data": [{"embedding": ["x"]}], "model": "m"}),
    ],
    ids=["page", "list", "empty", "null", "words"],
)
def test_an_answer_of_another_program_is_told(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> None:
    answering(monkeypatch, httpx.Response(200, json={"id": "m"}), answer)
    with pytest.raises(SetupError, match="http://here is no embedding endpoint"):
        searching.embed_query(HERE, "m", "text", None, None)


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://here:port", "here:8000"])
def test_an_endpoint_that_is_no_url_is_told(endpoint: str) -> None:
    with pytest.raises(SetupError, match="endpoint"):
        searching.embed_query(searching.Endpoint(endpoint), "m", "text", None, None)


@pytest.mark.parametrize("known", [CollectionSpec("kb", 4, "m"), None], ids=["same", "unknown"])
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


def test_searching_a_folder_that_does_not_exist_does_not_make_it(tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    with pytest.raises(SetupError, match=f"no folder `{folder}`"):
        searching.search(f"milvus-lite:{folder}", "kb", QUERY, "m")
    assert not folder.exists()
