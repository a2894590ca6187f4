"""Read a request's body within its limits, and notice a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from starlette.types import Receive

from serve_app.core.errors import BodyTooLarge, ClientGone, Overloaded, UnsupportedBody

SMALL_BODY_BYTES = 65_536
WATCH_AFTER_S = 0.1
Headers = dict[bytes, bytes]
Result = TypeVar("Result")


class BodyBudget:
    """Bounds what large bodies take in memory: tokens, which admission counts, are known only after reading."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def hold(self, headers: Headers, largest: int, limit: int) -> Iterator[None]:
        """For as long as the body is worked on. Sizes are in bytes; a body of unknown length counts as the largest, and
        `limit` is for all together. Raises Overloaded.
        """
        size = int(headers.get(b"content-length", largest))
        if size > SMALL_BODY_BYTES and self._held and self._held + size > limit:
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


async def while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """Await `work`, and cancel it if the client leaves. Raises ClientGone then.

    The first look is only after WATCH_AFTER_S, because most requests have been answered by then and a look is a task.
    """
    caller = cast("asyncio.Task[Any]", asyncio.current_task())
    watch = _Watch(caller, receive)
    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.saw_the_end and caller.uncancel() == 0:
            raise ClientGone("The client left before its answer was ready.") from None
        raise
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    """Cancels a request when its connection ends."""

    def __init__(self, caller: asyncio.Task[Any], receive: Receive) -> None:
        self._caller = caller
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self.saw_the_end = False

    def start(self) -> None:
        self._watching = asyncio.ensure_future(self._until_the_end())

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _until_the_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.saw_the_end = True
        self._caller.cancel()
