from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Coroutine, Iterator
from typing import Any

import numpy as np
import pytest

from ingest.embedding import http_tokenizer
from ingest.embedding.base import HandleAddress, HttpAddress, ServedModel, describe, open_tokenizer
from ingest.embedding.bulk import open_embedder
from ingest.embedding.http import EndpointClient
from ingest.embedding.transport import HandleTransport, open_transport
from serve_app.core.errors import (
    DeadlineExceeded,
    EmbedError,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    ReplicaUnavailable,
    SetupError,
)
from serve_app.core.types import Slice, SliceAnswer, TokenIds
from tests.unit.ingest.endpoint_server import (
    CARD,
    DIMENSIONS,
    END,
    POISON,
    START,
    Endpoint,
    Told,
    items,
    serving,
    tokens_of,
    vector_of,
)

SERVED = ServedModel("qwen", DIMENSIONS, 2, 512, "w-t-last-bfloat16")
ANOTHER_PROGRAM = [Told(200, "<html>"), Told(200, []), Told(200, {"data": []}), Told(200, {"id": None})]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as endpoint:
        yield endpoint


@pytest.fixture
def nobody() -> str:
    """The address of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 10))


async def send(endpoint: Endpoint, texts: list[TokenIds], url: str = "") -> Any:
    transport = open_transport(HttpAddress(url or endpoint.url, "ek_1"), SERVED, 2)
    try:
        return await transport.send(texts, 5.0)
    finally:
        await transport.close()


TEXTS = [np.array(ids, dtype=np.int32) for ids in ([5, 6], [7], [8, 9, 10])]


# Addresses


def test_an_address_travels_and_does_not_show_its_key() -> None:
    address = HttpAddress("http://here", "ek_secret", "qwen")
    assert pickle.loads(pickle.dumps(address)) == address  # noqa: S301
    assert "ek_secret" not in repr(address)
    assert pickle.loads(pickle.dumps(HandleAddress("qwen"))) == HandleAddress("qwen")  # noqa: S301


@pytest.mark.parametrize(("asked", "size"), [(None, DIMENSIONS), (2, 2), (DIMENSIONS, DIMENSIONS)])
def test_a_size_the_model_has_is_taken(asked: int | None, size: int) -> None:
    assert SERVED.size(asked) == size


@pytest.mark.parametrize(("least", "range_"), [(2, "2 to 8"), (8, "only 8")])
def test_a_size_the_model_does_not_have_is_refused_with_its_range(least: int, range_: str) -> None:
    with pytest.raises(SetupError, match=f"is 9; qwen supports {range_}"):
        ServedModel("qwen", DIMENSIONS, least, 512, "f").size(9)


# What is served


@pytest.mark.parametrize("model", ["", "qwen", "alias/of it"])
def test_the_endpoint_says_what_it_serves(endpoint: Endpoint, model: str) -> None:
    assert describe(HttpAddress(endpoint.url + "/", "ek_1", model)) == SERVED
    assert set(endpoint.keys) == {"Bearer ek_1"}


def test_a_model_is_waited_for_until_a_replica_has_told_its_fingerprint(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.embedding.http.ASK_AGAIN_S", 0.01)
    endpoint.told.extend([Told(200, {**CARD, "fingerprint": None})] * 2)
    endpoint.told.append(Told.error(503, "Not yet.", retry_after="0.01"))
    assert describe(HttpAddress(endpoint.url, model="qwen"), 5.0) == SERVED


def test_a_model_without_replicas_is_told_in_the_end(endpoint: Endpoint) -> None:
    endpoint.card["fingerprint"] = None
    with pytest.raises(SetupError, match="No replica of qwen answers"):
        describe(HttpAddress(endpoint.url), 0.1)


@pytest.mark.parametrize("answer", ANOTHER_PROGRAM)
def test_another_program_at_the_address_is_told(endpoint: Endpoint, answer: Told) -> None:
    endpoint.told.extend([answer] * 3)
    with pytest.raises(SetupError, match=f"{endpoint.url} is no embedding endpoint"):
        describe(HttpAddress(endpoint.url, model="qwen"), 1.0)


@pytest.mark.parametrize(("status", "reason"), [(401, "Not a valid key."), (404, "Not served here."), (503, "None.")])
def test_a_refusal_is_told_at_once_with_the_server_s_reason(endpoint: Endpoint, status: int, reason: str) -> None:
    endpoint.told.append(Told.error(status, reason, retry_after="30"))
    with pytest.raises(SetupError, match=f"refused: {reason}"):
        describe(HttpAddress(endpoint.url, model="qwen"))


def test_nobody_at_the_address_is_told_at_once_and_without_the_password(nobody: str) -> None:
    with pytest.raises(SetupError, match="No cluster answers at http://127") as raised:
        describe(HttpAddress(nobody.replace("//", "//me:secret@")))
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("url", ["http://[::1", "http://here:port", "here:8000"])
def test_an_address_that_is_no_url_is_told(url: str) -> None:
    with pytest.raises(SetupError, match="is no URL"):
        describe(HttpAddress(url))
    with pytest.raises(SetupError, match="is no URL"):
        run(send(Endpoint(), TEXTS, url))


def test_an_answer_that_is_not_json_can_be_had_as_it_is(endpoint: Endpoint) -> None:
    endpoint.told.extend([Told(200, "up 1\n"), Told.error(403, "No scope.")])
    with EndpointClient(HttpAddress(endpoint.url)) as client:
        assert client.text("/metrics") == "up 1\n"
        with pytest.raises(SetupError, match="No scope"):
            client.text("/metrics")


# Tokens


def tokenizer_of(endpoint: Endpoint) -> Any:
    return open_tokenizer(HttpAddress(endpoint.url), SERVED)


def test_texts_are_tokenised_in_order_on_one_connection(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_tokenizer, "MAX_TEXTS", 3)
    tokenizer = tokenizer_of(endpoint)
    texts = [f"{index}年" for index in range(10)]
    assert [ids.tolist() for ids in tokenizer.encode(texts)] == [tokens_of(text) for text in texts]
    tokenizer.close()
    assert [len(body["input"]) for body in endpoint.bodies] == [3, 3, 3, 1]
    assert endpoint.connections == 1


def test_no_request_holds_more_than_its_characters(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_tokenizer, "MAX_CHARACTERS", 10)
    tokenizer = tokenizer_of(endpoint)
    long = "a" * 25
    found = tokenizer.encode(["x" * 6, "y" * 6, long])
    tokenizer.close()
    assert all(sum(map(len, body["input"])) <= 10 for body in endpoint.bodies)
    assert [ids.tolist() for ids in found[:2]] == [tokens_of("x" * 6), tokens_of("y" * 6)]
    assert found[2].tolist() == [*tokens_of("a" * 10), *tokens_of("a" * 10), *tokens_of("a" * 5)]


def test_an_empty_text_is_the_special_tokens_alone(endpoint: Endpoint) -> None:
    tokenizer = tokenizer_of(endpoint)
    assert [ids.tolist() for ids in tokenizer.encode(["", "c", ""])] == [[START, END], tokens_of("c"), [START, END]]
    assert tokenizer.encode([]) == []
    tokenizer.close()
    assert all(all(body["input"]) for body in endpoint.bodies)


def test_half_a_surrogate_pair_does_not_end_the_job(endpoint: Endpoint) -> None:
    tokenizer = tokenizer_of(endpoint)
    assert len(tokenizer.encode(["a\ud800b"])[0]) == len(tokens_of("a?b"))
    tokenizer.close()


def test_a_full_cluster_is_waited_for_while_tokenising(endpoint: Endpoint) -> None:
    endpoint.told.extend([Told.error(429, "Full.", retry_after="0.01"), Told.error(503, "None.", retry_after="0.01")])
    tokenizer = tokenizer_of(endpoint)
    assert tokenizer.encode(["c"])[0].tolist() == tokens_of("c")
    tokenizer.close()


@pytest.mark.parametrize("answer", [Told(200, {"data": [{}]}), Told(200, {"data": []}), Told.error(401, "No key.")])
def test_tokens_that_cannot_be_had_end_the_job(endpoint: Endpoint, answer: Told) -> None:
    endpoint.told.append(answer)
    tokenizer = tokenizer_of(endpoint)
    with pytest.raises(SetupError):
        tokenizer.encode(["c"])
    tokenizer.close()


# Slices


def test_a_slice_goes_as_token_ids_in_the_bulk_class_and_comes_back_in_order(endpoint: Endpoint) -> None:
    found = run(send(endpoint, TEXTS))
    assert {vector.dtype for vector in found} == {np.dtype(np.float32)}
    assert np.array_equal(found, np.stack([vector_of(text) for text in TEXTS]))
    (body,) = endpoint.bodies
    assert body == {
        "model": "qwen",
        "input": [[5, 6], [7], [8, 9, 10]],
        "input_type": "document",
        "encoding_format": "base64",
        "priority": "bulk",
    }
    assert endpoint.keys == ["Bearer ek_1"]


def test_a_view_of_other_ids_is_sent_as_it_is(endpoint: Endpoint) -> None:
    run(send(endpoint, [np.arange(10, dtype=np.int32)[::2]]))
    assert endpoint.bodies[0]["input"] == [[0, 2, 4, 6, 8]]


@pytest.mark.parametrize(
    ("answer", "kind", "wait_s"),
    [
        (Told.error(429, "Full.", retry_after="3"), Overloaded, 3.0),
        (Told.error(429, "Full."), Overloaded, None),
        (Told.error(503, "None.", retry_after="1"), ReplicaUnavailable, 1.0),
        (Told.error(503, "None.", retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), ReplicaUnavailable, None),
        (Told.error(503, "None.", retry_after="inf"), ReplicaUnavailable, None),
        (Told(500, "backend down"), ReplicaUnavailable, None),
        (Told(502, "<html>"), ReplicaUnavailable, None),
        (Told.error(500, "A vector is not finite."), EngineFailed, None),
        (Told.error(504, "Too long."), DeadlineExceeded, None),
        (Told(504, "upstream timed out"), DeadlineExceeded, None),
        (Told.error(400, "Outside the vocabulary."), InvalidRequest, None),
        (Told.error(413, "Too large."), InvalidRequest, None),
        (Told.error(401, "No key."), SetupError, None),
        (Told.error(403, "No scope."), SetupError, None),
        (Told.error(404, "No such model."), SetupError, None),
        (Told(302, ""), SetupError, None),
    ],
)
def test_a_refusal_becomes_the_error_that_says_what_to_do(
    endpoint: Endpoint, answer: Told, kind: type[EmbedError], wait_s: float | None
) -> None:
    endpoint.told.append(answer)
    with pytest.raises(kind) as raised:
        run(send(endpoint, TEXTS))
    assert getattr(raised.value, "retry_after_s", None) == wait_s


ROWS = items(np.ones((3, DIMENSIONS), dtype=np.float32))


@pytest.mark.parametrize(
    "answer",
    [
        *ANOTHER_PROGRAM,
        Told(200, {"data": ROWS[:2]}),
        Told(200, {"data": [*ROWS[:2], ROWS[1]]}),
        Told(200, {"data": [*ROWS, ROWS[0]]}),
        Told(200, {"data": [*ROWS[:2], {"index": 0, "embedding": "AACAPw=="}]}),
        Told(200, {"data": [*ROWS[:2], {"index": 0, "embedding": "no base64"}]}),
        Told(200, {"data": [*ROWS[:2], {"index": -3, "embedding": ROWS[0]["embedding"]}]}),
        Told(200, {"data": items(np.ones((3, DIMENSIONS - 1), dtype=np.float32))}),
        Told(200, {"data": items(np.ones((3, 0), dtype=np.float32))}),
    ],
)
def test_vectors_that_are_not_those_asked_for_end_the_job(endpoint: Endpoint, answer: Told) -> None:
    endpoint.told.append(answer)
    with pytest.raises(SetupError, match="no embedding endpoint"):
        run(send(endpoint, TEXTS))


def test_nobody_at_the_start_ends_the_job_at_once(nobody: str) -> None:
    with pytest.raises(SetupError, match="No cluster answers"):
        run(send(Endpoint(), TEXTS, nobody))


def test_a_cluster_that_goes_away_is_waited_for_and_its_end_is_told() -> None:
    async def work() -> None:
        with serving(Endpoint()) as endpoint:
            embedder = open_embedder(HttpAddress(endpoint.url), SERVED, 1, 0.3)
            await embedder.embed(TEXTS)
        try:
            await embedder.embed(TEXTS)
        finally:
            await embedder.close()

    with pytest.raises(SetupError, match=r"cluster is gone: for 0\.3 s .*No cluster answers"):
        run(work())


def test_a_corpus_is_embedded_past_refusals_and_a_bad_text_on_few_connections(endpoint: Endpoint) -> None:
    endpoint.told.extend([Told.error(429, "Full.", retry_after="0.01"), Told(502, "gone"), Told.error(500, "Broken.")])
    texts = [np.full(3_000, 20 + index, dtype=np.int32) for index in range(12)]
    texts[7] = np.array([POISON], dtype=np.int32)

    async def work() -> Any:
        embedder = open_embedder(HttpAddress(endpoint.url), SERVED, 2, 10.0)
        try:
            return await embedder.embed(texts)
        finally:
            await embedder.close()

    found = run(work())
    assert [index for index, vector in enumerate(found) if vector is None] == [7]
    assert all(np.array_equal(found[index], vector_of(texts[index])) for index in (*range(7), *range(8, 12)))
    assert endpoint.connections <= 2


# Handles


def handle_transport(
    monkeypatch: pytest.MonkeyPatch, fingerprint: str, *faulty: int
) -> tuple[HandleTransport, list[Slice]]:
    sent: list[Slice] = []

    async def replica(slice_: Slice) -> SliceAnswer:
        sent.append(slice_)
        vectors = np.ones((slice_.texts, DIMENSIONS), dtype=np.float32)
        return SliceAnswer(vectors, fingerprint, 0.0, faulty=frozenset(faulty))

    monkeypatch.setattr("ingest.embedding.transport.embedder_handle", lambda name: name)
    monkeypatch.setattr("ingest.embedding.transport.slice_sender", lambda _: replica)
    transport = open_transport(HandleAddress(), SERVED, 2)
    assert isinstance(transport, HandleTransport)
    return transport, sent


def test_a_slice_over_a_handle_is_bulk_with_the_time_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, sent = handle_transport(monkeypatch, SERVED.fingerprint)
    assert [vector.shape for vector in run(transport.send(TEXTS, 5.0))] == [(DIMENSIONS,)] * 3
    assert (sent[0].priority.label, sent[0].timeout_s, sent[0].tokens) == ("bulk", 5.0, 6)


def test_a_faulty_vector_never_leaves_the_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, _ = handle_transport(monkeypatch, SERVED.fingerprint, 1)
    assert [vector is None for vector in run(transport.send(TEXTS, 5.0))] == [False, True, False]


def test_vectors_of_other_weights_than_at_the_start_end_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, _ = handle_transport(monkeypatch, "other")
    with pytest.raises(SetupError, match="other weights or settings than when the job began"):
        run(transport.send(TEXTS, 5.0))


def test_a_model_described_over_http_has_no_checkpoint_for_a_handle() -> None:
    with pytest.raises(SetupError, match="described over HTTP"):
        open_tokenizer(HandleAddress("qwen"), SERVED)
