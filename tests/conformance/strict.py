"""A real Router and its HTTP surface in this process, for settings that the session's cluster does not have.

A second cluster would take half a minute; a second Router in front of the same replicas takes none.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from serve_app.dispatch.slice_client import EmbedderHandle
from serve_app.router import Router
from serve_app.settings import AppSettings

START_WITHIN_S = 30.0


@contextmanager
def serve_router(settings: AppSettings, handles: dict[str, EmbedderHandle]) -> Iterator[str]:
    """The address of a Router over `handles`, served by a thread with an event loop of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # from here on a client may connect, and waits until the server accepts
        port = listener.getsockname()[1]
        stop, ready = threading.Event(), threading.Event()
        thread = threading.Thread(
            target=lambda: asyncio.run(_serve(settings, handles, listener, ready, stop)), name="strict-router"
        )
        thread.start()
        try:
            assert ready.wait(START_WITHIN_S)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop.set()
            thread.join()


async def _serve(
    settings: AppSettings,
    handles: dict[str, EmbedderHandle],
    listener: socket.socket,
    ready: threading.Event,
    stop: threading.Event,
) -> None:
    # Made here, as Serve does: what the Router holds belongs to the event loop that serves it.
    surface = Router(settings, handles).__serve_build_asgi_app__()
    server = uvicorn.Server(uvicorn.Config(surface, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))
    ready.set()
    await asyncio.to_thread(stop.wait)
    server.should_exit = True
    await serving
