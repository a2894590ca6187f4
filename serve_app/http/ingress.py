"""What stands before Serve's own request handling, in every process of the cluster that listens to HTTP."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

# With these a client could change the limits of its request.
LIMIT_HEADERS = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})
WATCHED_HERE = (b"x-request-disconnect-disabled", b"?1")


def middlewares() -> list[Middleware]:
    """Serve calls this by its import path, which `cluster.environment` puts into the environment."""
    return [Middleware(ServeLimits)]


class ServeLimits:
    """Takes Serve's limits out of the client's hands and its watch on the connection off the short requests.

    Serve starts two tasks and a queue for every request, only to notice a client that leaves. `while_connected` does
    so once a request has taken long enough for it to matter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [header for header in scope["headers"] if header[0] not in LIMIT_HEADERS]
            scope["headers"] = [*kept, WATCHED_HERE]
        await self._app(scope, receive, send)
