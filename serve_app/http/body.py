"""Read a request's body within its limits, and notice a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.types import Receive

from serve_app.core.errors import BodyTooLarge, ClientGone, Overloaded, UnsupportedBody

SMALL_BODY_BYTES = 65_536
Headers = dict[bytes, bytes]
Result = TypeVar("Result")


class BodyBudget:
    """Bounds what large bodies take in memory: tokens, which admission counts, are known only after reading."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def hold(self, headers: Headers, largest: int) -> Iterator[None]:
        """For as long as the body is worked on. One of unknown length counts as the largest; raises Overloaded."""
        size = int(headers.get(b"content-length", largest))
        if size > SMALL_BODY_BYTES and self._held and self._held + size > self._limit:
            raise Overloaded("Too many large bodies are being worked on: try again later.", retry_after_s=1.0)
        self._held += size
        try:
            yield
        finally:
            self._held -= size


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """The body, refused as soon as it is known to be too large, chunked or not. Raises RequestError."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedBody("Compressed bodies are not accepted: send the JSON as it is.")
    if int(headers.get(b"content-length", b"0")) > limit:  # the server has checked that it is a number
        raise _too_large(limit)
    parts: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        has_more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes: send the inputs in several requests.")


async def while_connected(work: Coroutine[Any, Any, Result], headers: Headers, receive: Receive) -> Result:
    """Await `work`, and cancel it if the client leaves. Raises ClientGone then.

    Serve watches the connection itself, unless the client has told it not to with this header: work for nobody is not
    something that a client may order.
    """
    if b"x-request-disconnect-disabled" not in headers:
        return await work
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("The client left before its answer was ready.")
        return await task
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
