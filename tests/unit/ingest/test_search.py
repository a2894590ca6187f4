from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

from ingest import search as searching
from ingest.filters import parse_filter
from ingest.search import Question
from ingest.sinks.base import CollectionSpec, Hit, Query, Vector, VectorSink
from serve_app.core.errors import InvalidRequest, SetupError
from tests.unit.ingest.endpoint_server import DIMENSIONS, Endpoint, Told, serving, tokens_of, vector_of

QUESTION, QUERY = Question("text"), Query(None)
MADE_FOR_QWEN = CollectionSpec("kb", DIMENSIONS, "qwen")


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


def searched(endpoint: Endpoint, question: Question = QUESTION, query: Query = QUERY, key: str = "") -> list[Hit]:
    return searching.search("milvus-lite:x", "kb", at(endpoint, key), question, query)


def test_a_question_is_embedded_by_the_model_that_the_collection_was_made_for(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store(monkeypatch, CollectionSpec("kb", 4, "second"))
    searched(endpoint)
    (body,) = endpoint.bodies
    told = {"encoding_format": "base64", "input_type": "query", "dimensions": 4}
    assert body == {"model": "second", "input": ["text"], **told}
    ((name, query),) = [call.args for call in sink.search.mock_calls]  # type: ignore[attr-defined]
    assert name == "kb"
    assert np.array_equal(query.vector, vector_for("text")[:4])


def test_a_collection_of_another_size_than_is_configured_is_asked_in_its_own(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(monkeypatch, MADE_FOR_QWEN)
    searched(endpoint, replace(QUESTION, dimensions=2))
    assert endpoint.bodies[0]["dimensions"] == DIMENSIONS


def test_a_collection_that_does_not_say_what_it_was_made_for_is_asked_with_the_first_model_as_configured(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(monkeypatch, None)
    searched(endpoint)
    searched(endpoint, replace(QUESTION, dimensions=4))
    assert [(body["model"], body.get("dimensions")) for body in endpoint.bodies] == [("qwen", None), ("qwen", 4)]


def test_right_after_a_flip_the_question_is_embedded_anew_by_the_model_of_the_new_collection(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {"kb_1": CollectionSpec("kb_1", DIMENSIONS, "qwen"), "kb_2": CollectionSpec("kb_2", 4, "second")}
    hit = Hit(1.0, "new", "", "", "", None, None, (), "")

    def answer(collection: str, query: Query) -> list[Hit]:
        if collection == "kb_1":
            raise SetupError("There is no collection `kb_1`")
        return [hit]

    sink = store(monkeypatch, None)
    sink.target_of.side_effect = ["kb_1", "kb_2"]  # type: ignore[attr-defined]
    sink.spec_of.side_effect = specs.get  # type: ignore[attr-defined]
    sink.search.side_effect = answer  # type: ignore[attr-defined]
    assert searched(endpoint) == [hit]
    assert [(body["model"], body["dimensions"]) for body in endpoint.bodies] == [("qwen", DIMENSIONS), ("second", 4)]


def test_a_collection_for_which_no_model_is_served_is_refused_with_the_models(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store(monkeypatch, CollectionSpec("kb", 1024, "other"))
    with pytest.raises(SetupError, match=r"`kb` was made for other, 1024 dimensions, .* serves only qwen, second"):
        searched(endpoint)
    assert endpoint.bodies == []
    sink.search.assert_not_called()  # type: ignore[attr-defined]


def test_a_question_under_an_alias_goes_to_collections_of_the_model_that_it_stands_for(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(monkeypatch, MADE_FOR_QWEN)
    searched(endpoint, replace(QUESTION, model="alias@preset"))
    assert endpoint.bodies[0]["model"] == "alias@preset"


def test_a_model_that_the_collection_was_not_made_for_is_refused_before_it_embeds_anything(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store(monkeypatch, CollectionSpec("kb", 4, "second"))
    with pytest.raises(SetupError, match="`kb` was made for second, 4 dimensions, and --model is qwen"):
        searched(endpoint, replace(QUESTION, model="alias"))
    assert endpoint.bodies == []
    sink.search.assert_not_called()  # type: ignore[attr-defined]


def test_an_instruction_goes_with_the_question(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    store(monkeypatch, MADE_FOR_QWEN)
    searched(endpoint, replace(QUESTION, instruction="Find it"))
    assert endpoint.bodies[0]["instruction"] == "Find it"


def test_the_rest_of_the_query_goes_to_the_store_as_it_is(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = store(monkeypatch, MADE_FOR_QWEN)
    query = searching.make_query("text", 7, hybrid=True, filter_text="language = zh", tenant="acme")
    assert query == Query(None, 7, "text", parse_filter("language = zh"), "acme")
    searched(endpoint, query=query)
    (asked,) = [call.args[1] for call in sink.search.mock_calls]  # type: ignore[attr-defined]
    assert replace(asked, vector=None) == query


def test_without_options_a_query_is_of_meaning_alone_and_of_every_tenant() -> None:
    assert searching.make_query("text", 3, hybrid=False, filter_text="", tenant="") == Query(None, 3)


def test_a_filter_that_cannot_be_read_is_told_before_anything_is_asked() -> None:
    with pytest.raises(InvalidRequest):
        searching.make_query("text", 3, hybrid=False, filter_text="no filter", tenant="")


def test_the_api_key_goes_with_every_request(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    store(monkeypatch, MADE_FOR_QWEN)
    searched(endpoint, key="ek_1")
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
def test_an_answer_of_another_program_is_told(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, answer: Told
) -> None:
    store(monkeypatch, None)
    endpoint.told.extend([Told(200, {"id": "m"}), answer])
    with pytest.raises(SetupError, match=f"{endpoint.url} is no embedding endpoint"):
        searched(endpoint, replace(QUESTION, model="m"))


@pytest.mark.parametrize("answer", [Told(200, []), Told(200, {"data": []}), Told(200, {"data": [{"name": "m"}]})])
def test_a_list_of_models_of_another_program_is_told(endpoint: Endpoint, answer: Told) -> None:
    endpoint.told.append(answer)
    with pytest.raises(SetupError, match=f"{endpoint.url} is no embedding endpoint"):
        searched(endpoint)


def test_a_refused_question_is_told_with_the_server_s_reason(endpoint: Endpoint) -> None:
    endpoint.told.append(Told.error(404, "Not served here; served: qwen."))
    with pytest.raises(SetupError, match="The cluster refused: Not served here; served: qwen"):
        searched(endpoint, replace(QUESTION, model="m"))


def test_bytes_of_a_terminal_that_are_no_text_do_not_end_it(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(monkeypatch, None)
    searched(endpoint, Question("a\udcff"))
    assert endpoint.bodies[0]["input"] == ["a?"]


@pytest.mark.parametrize("url", ["http://[::1", "http://here:port", "here:8000"])
def test_an_endpoint_that_is_no_url_is_told(url: str) -> None:
    with pytest.raises(SetupError, match="endpoint"):
        searching.search("milvus-lite:x", "kb", searching.Endpoint(url), QUESTION, QUERY)


def test_a_collection_that_another_pipeline_made_with_the_same_model_is_searched(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store(monkeypatch, replace(MADE_FOR_QWEN, fingerprint="f"))
    searched(endpoint)
    sink.search.assert_called_once()  # type: ignore[attr-defined]


def test_searching_a_folder_that_does_not_exist_does_not_make_it(endpoint: Endpoint, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    with pytest.raises(SetupError, match=f"no folder `{folder}`"):
        searching.search(f"milvus-lite:{folder}", "kb", at(endpoint), QUESTION, QUERY)
    assert not folder.exists()


def test_the_command_s_search_goes_by_the_collection_behind_the_alias(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = store(monkeypatch, replace(MADE_FOR_QWEN, name="kb_2"))
    sink.target_of.return_value = "kb_2"  # type: ignore[attr-defined]
    searched(endpoint)
    assert [call.args[0] for call in sink.search.mock_calls] == ["kb_2"]  # type: ignore[attr-defined]
