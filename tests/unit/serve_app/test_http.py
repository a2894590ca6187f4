"""The HTTP contract as far as no replica is needed for it: names, instructions, keys, limits, routes."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import Message, Send

from cluster.commands.keys import create_key
from serve_app.core.errors import EngineFailed, Overloaded
from serve_app.core.types import Priority, Slice, SliceAnswer, TokenIds
from serve_app.http.body import BodyBudget
from serve_app.http.keys import Scope
from serve_app.http.openapi import openapi_document
from serve_app.http.surface import SCOPES, HttpSurface
from serve_app.model.tokenizer import TextTokenizer
from serve_app.settings import AppSettings, LimitSettings, LiveSettings
from tests.engines.deterministic import unit_vector
from tests.unit.serve_app.surface import DIMENSIONS, FakeHandle, embed, send, settings, surface

CANARY = "canary-7f3a"
SCOPE_NAMES: tuple[Scope, ...] = ("embed", "admin")


@pytest.fixture
def handle() -> FakeHandle:
    return FakeHandle()


@pytest.fixture
def app(tmp_path: Path, handle: FakeHandle) -> HttpSurface:
    return surface(settings(tmp_path), handle)


def texts_sent(app: HttpSurface, handle: FakeHandle) -> list[str]:
    tokenizer: TextTokenizer = app._router.catalog.routes[0].tokenizer
    return [
        tokenizer._tokenizer.decode(sent.ids[sent.offsets[row] : sent.offsets[row + 1]].tolist())
        for sent in handle.slices
        for row in range(sent.texts)
    ]


def error(response: httpx.Response) -> tuple[int, str | None, str]:
    content = response.json()["error"]
    assert set(content) == {"message", "type", "param", "code"}
    assert CANARY not in response.text
    return response.status_code, content["param"], content["code"]


def test_the_vectors_are_those_of_the_replica_under_the_name_that_was_asked_for(
    app: HttpSurface, handle: FakeHandle
) -> None:
    response = embed(app, model="text-embedding-3-small")
    content = response.json()
    assert content["model"] == "text-embedding-3-small"
    expected = unit_vector(handle.slices[0].ids, DIMENSIONS)
    np.testing.assert_array_equal(np.array(content["data"][0]["embedding"], dtype=np.float32), expected)
    assert content["usage"]["prompt_tokens"] == handle.slices[0].tokens


def test_the_address_without_v1_is_the_same(app: HttpSurface) -> None:
    body = {"model": "qwen3", "input": "late delivery"}
    assert send(app, "POST", "/embeddings", json=body).json() == embed(app).json()


@pytest.mark.parametrize(
    "fields", [{"model": "qwen3@contracts"}, {"instruction": "@contracts"}, {"instruction": "Find the clause"}]
)
def test_a_named_instruction_is_the_instruction(app: HttpSurface, handle: FakeHandle, fields: dict[str, str]) -> None:
    assert embed(app, **fields).status_code == 200
    assert texts_sent(app, handle) == ["Instruct: Find the clause\nQuery:late delivery"]


def test_presets_can_be_replaced_while_requests_come_in(app: HttpSurface, handle: FakeHandle) -> None:
    before = embed(app, model="qwen3@contracts").headers["x-embed-config"]
    asyncio.run(app._router.reconfigure({"presets": {"contracts": "Find it"}}))
    after = embed(app, model="qwen3@contracts").headers["x-embed-config"]
    assert texts_sent(app, handle)[1] == "Instruct: Find it\nQuery:late delivery"
    assert before != after


def test_limits_can_be_replaced_while_requests_come_in(app: HttpSurface, handle: FakeHandle) -> None:
    asks: list[str] = []

    def limit(**limits: object) -> int:
        asyncio.run(app._router.reconfigure({"limits": limits}))
        asks.append("late delivery " * 20)
        return embed(app, input=[f"{row} {asks[-1]} {len(asks)}" for row in range(2)]).status_code

    assert limit() == 200
    assert limit(max_inputs=1) == 400
    assert limit(max_request_tokens=1024) == 200
    assert limit(max_body_mib=1) == 200
    assert embed(app, input="a" * 2**20).status_code == 413
    handle.slices.clear()
    assert limit(slice_texts=1) == 200
    assert [len(slice_.offsets) - 1 for slice_ in handle.slices] == [1, 1]


def test_what_a_router_runs_with_can_be_asked_for(app: HttpSurface) -> None:
    asyncio.run(app._router.reconfigure({"presets": {"faq": "Find it"}, "limits": {"max_inputs": 9}}))
    told = AppSettings.model_validate_json(asyncio.run(app._router.running_settings()))
    assert (told.live.presets, told.limits.max_inputs) == ({"faq": "Find it"}, 9)
    assert told.models == app._router.settings.models


def test_half_precision_halves_the_answer(app: HttpSurface, handle: FakeHandle) -> None:
    response = embed(app, encoding_format="base64", embed_dtype="float16", dimensions=64)
    decoded = np.frombuffer(base64.b64decode(response.json()["data"][0]["embedding"]), dtype="<f2")
    expected = unit_vector(handle.slices[0].ids, DIMENSIONS)[:64]
    np.testing.assert_allclose(decoded, expected / np.linalg.norm(expected), atol=1e-3)


def test_bulk_requests_travel_as_bulk(app: HttpSurface, handle: FakeHandle) -> None:
    embed(app, priority="bulk")
    assert [sent.priority for sent in handle.slices] == [Priority.BULK]


def test_a_text_seen_before_is_not_computed_again_unless_the_client_says_so(
    app: HttpSurface, handle: FakeHandle
) -> None:
    first, second = embed(app), embed(app, dimensions=64)
    assert len(handle.slices) == 1
    fresh = [embed(app, headers={"cache-control": words}) for words in ("no-cache", "max-age=0, No-Store")]
    fresh.append(embed(app, headers=[("cache-control", "no-store"), ("cache-control", "max-age=0")]))
    assert len(handle.slices) == 4
    assert [response.json() for response in fresh] == [first.json()] * 3
    assert len(second.json()["data"][0]["embedding"]) == 64


REFUSALS: dict[str, tuple[dict[str, object], tuple[int, str | None, str]]] = {
    "unknown model": ({"model": CANARY}, (404, "model", "model_not_found")),
    "unknown preset of a model": ({"model": f"qwen3@{CANARY}"}, (404, "model", "model_not_found")),
    "unknown preset": ({"instruction": f"@{CANARY}"}, (400, "instruction", "invalid_value")),
    "empty list": ({"input": []}, (400, "input", "invalid_value")),
    "empty text": ({"input": [CANARY, ""]}, (400, "input", "invalid_value")),
    "no ids": ({"input": [[1], []]}, (400, "input", "invalid_value")),
    "too many inputs": ({"input": [CANARY] * 2049}, (400, "input", "batch_too_large")),
    "too many tokens in all": ({"input": [f"{CANARY} " * 30] * 20}, (400, "input", "context_length_exceeded")),
    "one input too long": ({"input": "x" * 300_000}, (400, "input", "context_length_exceeded")),
    "id outside the vocabulary": ({"input": [[1], [151_669]]}, (400, "input", "invalid_value")),
    "a query of ids": ({"input": [1, 2], "input_type": "query"}, (400, "input", "invalid_value")),
    "dimensions": ({"dimensions": 31}, (400, "dimensions", "dimensions_unsupported")),
    "half precision as decimals": ({"embed_dtype": "float16"}, (400, "embed_dtype", "invalid_value")),
    "a document with an instruction": (
        {"input_type": "document", "instruction": CANARY},
        (400, "instruction", "invalid_value"),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_request_is_refused_by_name_and_sends_nothing(case: str, app: HttpSurface, handle: FakeHandle) -> None:
    fields, expected = REFUSALS[case]
    assert error(embed(app, **fields)) == expected
    assert handle.slices == []


def test_token_ids_can_be_refused_with_the_way_out_for_langchain(tmp_path: Path, handle: FakeHandle) -> None:
    app = surface(settings(tmp_path, raw_token_ids="reject"), handle)
    response = embed(app, input=[[1, 2]])
    assert error(response) == (400, "input", "invalid_value")
    assert "check_embedding_ctx_length=False" in response.json()["error"]["message"]
    assert embed(app).status_code == 200


def test_a_request_that_is_too_long_is_cut_where_it_says(app: HttpSurface, handle: FakeHandle) -> None:
    whole = [1 + number % 200 for number in range(33_000)]
    limited = app._router.settings.limits.max_request_tokens
    assert error(embed(app, input=whole, truncate="end")) == (400, "input", "context_length_exceeded")
    assert limited < 32_768  # the cut input is still too long for the request


def test_a_compressed_body_is_refused(app: HttpSurface) -> None:
    response = send(app, "POST", "/v1/embeddings", content=b"x", headers={"content-encoding": "gzip"})
    assert error(response) == (415, None, "unsupported_body")


def test_a_request_of_very_many_characters_is_refused_before_it_is_tokenised(app: HttpSurface) -> None:
    response = embed(app, input=["x" * 5_000] * 4)
    assert error(response) == (400, "input", "context_length_exceeded")
    assert "20000 characters" in response.json()["error"]["message"]


def test_very_many_token_ids_are_refused_before_they_are_looked_at(app: HttpSurface) -> None:
    response = embed(app, input=[[999_999] * 1_500] * 2)
    assert error(response) == (400, "input", "context_length_exceeded")


def test_large_bodies_are_turned_away_while_others_fill_the_room() -> None:
    budget = BodyBudget()
    large, small = {b"content-length": b"200000"}, {b"content-length": b"1000"}
    with budget.hold(large, 10**6, 300_000):
        with pytest.raises(Overloaded) as caught, budget.hold(large, 10**6, 300_000):
            pass
        with pytest.raises(Overloaded), budget.hold({}, 10**6, 300_000):  # of unknown length
            pass
        with budget.hold(small, 10**6, 300_000):
            pass
    assert caught.value.retry_after_s == 1.0
    with budget.hold({}, 10**6, 300_000):  # one alone may come, however large
        pass


def unmeasured(before_the_end: Awaitable[object]) -> AsyncIterator[bytes]:
    """A body without a declared length, which is not complete before that."""

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"model": "qwen3", '
        await before_the_end
        yield b'"input": "late delivery"}'

    return parts()


@pytest.mark.parametrize(("first", "second"), [("/v1/embeddings", "/v1/tokenize"), ("/v1/tokenize", "/v1/embeddings")])
def test_texts_to_tokenise_and_to_embed_share_the_room_for_large_bodies(
    first: str, second: str, tmp_path: Path, handle: FakeHandle
) -> None:
    limits = LimitSettings(max_body_mib=1, max_buffered_mib=1, request_timeout_s=5)
    app = surface(settings(tmp_path).model_copy(update={"live": LiveSettings(limits=limits)}), handle)

    async def together() -> tuple[httpx.Response, httpx.Response]:
        refused = asyncio.Event()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            held = asyncio.create_task(client.post(first, content=unmeasured(refused.wait())))
            await asyncio.sleep(0.05)
            turned_away = await client.post(second, content=b"x" * 2**20)
            refused.set()
            return await held, turned_away

    held, turned_away = asyncio.run(together())
    assert held.status_code == 200
    assert error(turned_away) == (429, None, "overloaded")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/tokenize"])
def test_the_time_of_a_request_begins_before_its_body_is_read(path: str, tmp_path: Path, handle: FakeHandle) -> None:
    given = settings(tmp_path)
    live = LiveSettings(limits=LimitSettings(request_timeout_s=0.05))
    app = surface(given.model_copy(update={"live": live}), handle)

    response = send(app, "POST", path, content=unmeasured(asyncio.sleep(0.2)))

    assert error(response) == (504, None, "deadline_exceeded")


def test_what_would_be_refused_anyway_is_not_tokenised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Slice) -> SliceAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    given = settings(tmp_path)
    limits = LimitSettings(max_queued_tokens=1024, slice_tokens=64, slices_per_replica=1, request_timeout_s=1)
    app = surface(given.model_copy(update={"live": LiveSettings(limits=limits)}), FakeHandle(never))
    encoded: list[list[str]] = []
    encode = TextTokenizer.encode

    def counted(self: TextTokenizer, texts: list[str], prefix: str = "") -> list[TokenIds]:
        encoded.append(texts)
        return encode(self, texts, prefix)

    monkeypatch.setattr(TextTokenizer, "encode", counted)

    async def crowd() -> tuple[list[httpx.Response], int, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            bodies = [{"model": "qwen3", "input": [f"{row} late delivery {n}" for n in range(200)]} for row in range(9)]
            first = [asyncio.create_task(client.post("/v1/embeddings", json=body)) for body in bodies[:-1]]
            await asyncio.sleep(0.3)
            tokenised = len(encoded)
            last = await client.post("/v1/embeddings", json=bodies[-1])
            return await asyncio.gather(*first), len(encoded) - tokenised, last

    first, tokenised, last = asyncio.run(crowd())
    assert {response.status_code for response in first} == {429, 504}
    assert error(last) == (429, None, "overloaded")
    assert tokenised == 0


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/tokenize"])
def test_a_body_over_the_limit_is_refused(app: HttpSurface, path: str) -> None:
    assert error(send(app, "POST", path, content=b" " * (2**20 + 1))) == (413, None, "body_too_large")


def test_tokens_are_those_that_would_be_embedded(app: HttpSurface, handle: FakeHandle) -> None:
    body = {"model": "qwen3@contracts", "input": ["late delivery", "年假"]}
    content = send(app, "POST", "/v1/tokenize", json=body).json()
    embed(app, **body)
    assert [item["tokens"] for item in content["data"]] == [
        handle.slices[0].ids[: content["data"][0]["count"]].tolist(),
        handle.slices[0].ids[content["data"][0]["count"] :].tolist(),
    ]
    assert content["total_tokens"] == handle.slices[0].tokens


def test_a_model_card_has_the_fingerprint_that_the_replica_reports(app: HttpSurface) -> None:
    card = send(app, "GET", "/v1/models/qwen3").json()
    assert card["fingerprint"] == "3f2a91c07b44d1e8-77b0c1d2-last-bfloat16"
    assert error(send(app, "GET", f"/v1/models/{CANARY}")) == (404, "model", "model_not_found")


def test_a_failure_inside_is_an_error_without_details(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Slice) -> SliceAnswer:
        raise KeyError(CANARY)

    app = surface(settings(tmp_path), FakeHandle(fail))
    with caplog.at_level(logging.ERROR, "ray.serve"):
        response = embed(app)

    assert error(response) == (500, None, "internal_error")
    assert_told_without_its_message(caplog, KeyError, "in fail")


def test_a_failure_while_tokenising_is_an_error_without_details(
    app: HttpSurface, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: TextTokenizer, texts: list[str], prefix: str = "") -> list[TokenIds]:
        raise ValueError(CANARY)

    monkeypatch.setattr(TextTokenizer, "encode", fail)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        response = send(app, "POST", "/v1/tokenize", json={"model": "qwen3", "input": "late delivery"})

    assert error(response) == (500, None, "internal_error")
    assert_told_without_its_message(caplog, ValueError, "in fail")


async def hung_up(_: Message) -> None:
    raise ConnectionError(CANARY)


@pytest.mark.parametrize("kind", [ValueError, TimeoutError, Overloaded])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/tokenize", "/health"])
def test_an_answer_that_breaks_off_is_told_once_by_kind_and_place(
    path: str, kind: type[Exception], app: HttpSurface, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []

    async def break_off(message: Message) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise kind(CANARY)

    with caplog.at_level(logging.ERROR, "ray.serve"):
        call(app, path, break_off)

    assert sent == ["http.response.start", "http.response.body"]
    assert_told_without_its_message(caplog, kind, "in break_off")


def test_a_refusal_that_cannot_be_sent_is_told_once(app: HttpSurface, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "ray.serve"):
        call(app, "/v1/embeddings", hung_up, b"{}")
    assert_told_without_its_message(caplog, ConnectionError, "in hung_up")


def test_a_failure_whose_answer_cannot_be_sent_is_told_with_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Slice) -> SliceAnswer:
        raise KeyError(CANARY)

    with caplog.at_level(logging.ERROR, "ray.serve"):
        call(surface(settings(tmp_path), FakeHandle(fail)), "/v1/embeddings", hung_up)
    assert_told_without_its_message(caplog, KeyError, "in fail")
    assert_told_without_its_message(caplog, ConnectionError, "in hung_up")


def test_an_answer_that_cannot_be_written_is_counted_as_the_failure_that_it_is(
    app: HttpSurface, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise ValueError(CANARY)

    monkeypatch.setattr("serve_app.http.surface.encode_response", fail)
    assert error(embed(app)) == (500, None, "internal_error")
    counted = [line for line in app._router.recorder.samples().decode().splitlines() if "embed_requests_total{" in line]
    assert counted == ['embed_requests_total{class="interactive",model="qwen3",status="500"} 1.0']
    assert_told_without_its_message(caplog, ValueError, "in fail")


def test_a_failure_that_came_of_itself_is_told_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Slice) -> SliceAnswer:
        inner = EngineFailed(CANARY)
        inner.__cause__ = KeyError(CANARY)
        inner.__cause__.__cause__ = inner
        raise inner

    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert embed(surface(settings(tmp_path), FakeHandle(fail))).status_code == 500
    assert_told_without_its_message(caplog, EngineFailed, "in fail")


def test_what_a_replica_failed_of_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Slice) -> SliceAnswer:
        raise EngineFailed(CANARY)

    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert embed(surface(settings(tmp_path), FakeHandle(fail))).status_code == 500
    assert_told_without_its_message(caplog, EngineFailed, "in fail")


def call(app: HttpSurface, path: str, send: Send, body: bytes = b'{"model": "qwen3", "input": "late"}') -> None:
    """One request whose answer goes to `send`."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    method = "POST" if path in {"/v1/embeddings", "/v1/tokenize"} else "GET"
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, send))


def assert_told_without_its_message(caplog: pytest.LogCaptureFixture, kind: type[Exception], place: str) -> None:
    told = [record.getMessage() for record in caplog.records if record.name == "ray.serve"]
    assert len(told) == 1
    assert kind.__name__ in told[0]
    assert place in told[0]
    assert CANARY not in caplog.text


# Keys


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "keys.yaml"
    return {scope: create_key(file, name=scope, scopes=[scope]) for scope in SCOPE_NAMES}


@pytest.fixture
def locked(tmp_path: Path, handle: FakeHandle, keys: dict[str, str]) -> HttpSurface:
    return surface(settings(tmp_path / "model", keys_file=tmp_path / "keys.yaml"), handle)


def declared_paths(app: HttpSurface) -> set[str]:
    return {route.path for route in app.routes if isinstance(route, Route | APIRoute)}


def test_every_route_declares_who_may_use_it(app: HttpSurface) -> None:
    assert declared_paths(app) == set(SCOPES)


def test_every_route_is_documented(app: HttpSurface) -> None:
    documented = set(openapi_document("t", "1")["paths"])
    undocumented = {path.replace("{model:path}", "{model}") for path in declared_paths(app)} - documented
    assert undocumented == {"/embeddings", "/docs", "/openapi.json"}


def request_to(path: str) -> tuple[str, str]:
    method = "POST" if path in {"/v1/embeddings", "/embeddings", "/v1/tokenize"} else "GET"
    return method, path.replace("{model:path}", "qwen3")


@pytest.mark.parametrize("path", [path for path, scope in SCOPES.items() if scope is not None])
def test_a_route_that_needs_a_key_says_how_to_send_one(locked: HttpSurface, handle: FakeHandle, path: str) -> None:
    method, address = request_to(path)
    response = send(locked, method, address, json={"model": "qwen3", "input": CANARY})
    assert error(response) == (401, None, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert handle.slices == []


def test_a_key_opens_what_its_scope_allows(locked: HttpSurface, keys: dict[str, str]) -> None:
    for_embed = {"authorization": f"Bearer {keys['embed']}"}
    assert embed(locked, headers=for_embed).status_code == 200
    assert error(send(locked, "GET", "/metrics", headers=for_embed)) == (403, None, "insufficient_scope")
    assert embed(locked, headers={"authorization": f"Bearer {keys['admin']}"}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
def test_probes_and_documentation_need_no_key(locked: HttpSurface, path: str) -> None:
    assert send(locked, "GET", path).status_code == 200


@pytest.mark.parametrize("header", ["Bearer EMPTY", "Bearer whatever", "Basic eDp5"])
def test_without_keys_configured_any_key_is_fine(app: HttpSurface, header: str) -> None:
    assert embed(app, headers={"authorization": header}).status_code == 200


# Pages of other sites


def test_pages_of_other_sites_may_not_call_unless_configured(app: HttpSurface) -> None:
    assert "access-control-allow-origin" not in embed(app, headers={"origin": "https://wiki.example"}).headers


def test_a_configured_origin_may_call(tmp_path: Path, handle: FakeHandle) -> None:
    app = surface(settings(tmp_path, cors_origins=["https://wiki.example"]), handle)
    ask = {"origin": "https://wiki.example", "access-control-request-method": "POST"}
    assert send(app, "OPTIONS", "/v1/embeddings", headers=ask).status_code == 200
    allowed = embed(app, headers={"origin": "https://wiki.example"}).headers["access-control-allow-origin"]
    assert allowed == "https://wiki.example"
    assert "access-control-allow-origin" not in embed(app, headers={"origin": "https://other.example"}).headers
