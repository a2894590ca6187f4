"""A small HTTP server that keeps the endpoint's contract, and can be told to be full, ill or another program."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from serve_app.core.types import TokenIds, Vectors

DIMENSIONS = 8
START, END = 1, 2  # special tokens before and after every text
POISON = 666
CARD = {
    "id": "qwen",
    "native_dimensions": DIMENSIONS,
    "min_dimensions": 2,
    "max_tokens": 512,
    "fingerprint": "w-t-last-bfloat16",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer given instead of the right one."""

    status: int
    body: object = None  # text as it is, anything else as JSON
    retry_after: str = ""

    @classmethod
    def error(cls, status: int, message: str, retry_after: str = "") -> Told:
        return cls(status, {"error": {"message": message}}, retry_after)


@dataclass(slots=True)
class Endpoint:
    """What was asked, in order, and what to answer before being right again."""

    url: str = ""
    card: dict[str, Any] = field(default_factory=lambda: dict(CARD))
    told: deque[Told] = field(default_factory=deque)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    connections: int = 0
    most_tokens: int = 10**9  # of a request; more take longer than the endpoint gives them

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.asked if body]

    def answer(self, path: str, body: dict[str, Any]) -> Told:
        self.asked.append((path, body))
        if self.told:
            return self.told.popleft()
        if path == "/v1/models":
            return Told(200, {"data": [self.card, {"id": "second"}]})
        if path.startswith("/v1/models/"):
            return Told(200, self.card)
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if path == "/v1/tokenize":
            return Told(200, {"data": [{"index": i, "tokens": tokens_of(text)} for i, text in enumerate(inputs)]})
        return self._embedded(inputs, body.get("dimensions", DIMENSIONS))

    def _embedded(self, inputs: list[Any], dimensions: int) -> Told:
        texts = [np.array(item if isinstance(item, list) else tokens_of(item), dtype=np.int32) for item in inputs]
        if any(POISON in text for text in texts):
            return Told.error(500, "A vector is not finite.")
        if sum(map(len, texts)) > self.most_tokens:
            return Told.error(504, "The request took longer than the limit.")
        return Told(200, {"data": items(np.stack([vector_of(text) for text in texts])[:, :dimensions])})


def tokens_of(text: str) -> list[int]:
    """One token a character."""
    return [START, *(ord(character) + 10 for character in text), END]


def vector_of(text: TokenIds) -> Vectors:
    """(DIMENSIONS,), another one for every text, and the same whatever stands beside it."""
    return np.random.default_rng([len(text), *np.asarray(text).tolist()]).standard_normal(DIMENSIONS).astype(np.float32)


def items(rows: Vectors) -> list[dict[str, Any]]:
    """In reverse, as clients must go by the index."""
    encoded = [base64.b64encode(np.ascontiguousarray(row, dtype="<f4").tobytes()).decode() for row in rows]
    return [{"index": index, "embedding": text} for index, text in enumerate(encoded)][::-1]


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    lock = threading.Lock()
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            endpoint.connections += 1
            connections.append(self.connection)

        def do_GET(self) -> None:
            self._respond({})

        def do_POST(self) -> None:
            self._respond(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _respond(self, body: dict[str, Any]) -> None:
            with lock:
                endpoint.keys.append(self.headers["authorization"])
                told = endpoint.answer(self.path, body)
            content = (told.body if isinstance(told.body, str) else json.dumps(told.body)).encode()
            self.send_response(told.status)
            self.send_header("content-length", str(len(content)))
            if told.retry_after:
                self.send_header("retry-after", told.retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Tests do not listen to it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
            for connection in connections:  # also those that clients keep
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
