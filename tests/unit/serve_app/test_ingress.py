from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.core.errors import ClientGone
from serve_app.http import body
from serve_app.http.body import while_connected
from serve_app.http.ingress import middlewares
from serve_app.telemetry.access_log import request_id_from

TIMEOUT, WATCH = b"x-request-timeout-seconds", b"x-request-disconnect-disabled"
REQUEST_ID = b"x-request-id"


def headers_behind(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What Serve sees of a request with these headers."""
    seen: list[tuple[bytes, bytes]] = []

    async def serve(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.extend(scope["headers"])

    async def nothing() -> Message:
        raise AssertionError

    async def nowhere(_: Message) -> None:
        raise AssertionError

    (middleware,) = middlewares()
    app = middleware.cls(serve, *middleware.args, **middleware.kwargs)

    async def request() -> None:
        await app({"type": "http", "headers": headers}, nothing, nowhere)

    asyncio.run(request())
    return seen


def test_a_client_cannot_change_serves_limits() -> None:
    assert headers_behind([(TIMEOUT, b"0"), (b"host", b"x"), (WATCH, b"?0")]) == [(b"host", b"x"), (WATCH, b"?1")]


def test_a_harmless_request_id_of_the_clients_is_kept() -> None:
    assert headers_behind([(REQUEST_ID, b"Client-7.a_b")]) == [(REQUEST_ID, b"Client-7.a_b"), (WATCH, b"?1")]


@pytest.mark.parametrize("given", [b"", b"bad id;<x>", b"i" * 129, b"a\n", b"\xc3\xa9"])
def test_any_other_request_id_goes_so_that_serve_makes_one(given: bytes) -> None:
    assert headers_behind([(REQUEST_ID, given), (b"host", b"x")]) == [(b"host", b"x"), (WATCH, b"?1")]


@pytest.mark.parametrize("given", [[b"first", b"second"], [b"bad id", b"first", b"second", b"bad id"]])
def test_of_several_request_ids_the_first_harmless_one_is_the_only_one_for_answer_and_log(given: list[bytes]) -> None:
    behind = headers_behind([(REQUEST_ID, value) for value in given])
    assert behind == [(REQUEST_ID, b"first"), (WATCH, b"?1")]
    assert request_id_from(dict(behind).items()) == "first"


async def answered_after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


def connection_that_ends_after(seconds: float) -> Receive:
    async def receive() -> Message:
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    return receive


def test_a_client_that_stays_gets_its_answer() -> None:
    work = while_connected(answered_after(0.01), connection_that_ends_after(30))
    assert asyncio.run(work) == "answer"


def test_work_for_a_client_that_leaves_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "WATCH_AFTER_S", 0.01)
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(ClientGone):
        asyncio.run(while_connected(work(), connection_that_ends_after(0.01)))
    assert ended == ["cancelled"]


def test_a_request_cancelled_by_somebody_else_is_not_taken_for_a_client_that_left() -> None:
    async def cancelled() -> None:
        request = asyncio.ensure_future(while_connected(answered_after(30), connection_that_ends_after(30)))
        await asyncio.sleep(0)
        request.cancel()
        await request

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def test_no_look_at_the_connection_outlives_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "WATCH_AFTER_S", 0.0)

    async def tasks_left() -> int:
        await while_connected(answered_after(0.02), connection_that_ends_after(30))
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(tasks_left()) == 1
