"""What stands before Serve's own request handling, in every process of the cluster that listens to HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.telemetry.access_log import REQUEST_ID_HEADER, is_request_id

# With these a client could change the limits of its request.
LIMIT_HEADERS = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})
WATCHED_HERE = (b"x-request-disconnect-disabled", b"?1")


def middlewares() -> list[Middleware]:
    """Serve calls this by its import path, which `cluster.environment` puts into the environment."""
    return [Middleware(BeforeServe)]


class BeforeServe:
    """Takes Serve's limits out of the client's hands and its watch on the connection off the short requests.

    Serve starts two tasks and a queue for every request, only to notice a client that leaves. `while_connected` does
    so once a request has taken long enough for it to matter.

    A request id that nobody should see in a log goes: Serve then makes one, for the log and for the answer. Of several,
    the first stays: the answer would repeat another one than the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*_kept(scope["headers"]), WATCHED_HERE]
        await self._app(scope, receive, send)


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    has_id = False
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            if has_id or not is_request_id(value):
                continue
            has_id = True
        if name not in LIMIT_HEADERS:
            yield name, value
