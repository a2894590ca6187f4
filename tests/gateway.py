"""A reverse proxy in front of a real endpoint, through which tests see every request, and can answer it themselves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

EMBED, TOKENIZE = "/v1/embeddings", "/v1/tokenize"
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    message: str = "as the test wishes"
    retry_after: str = ""


Rule = Callable[[str, bytes], Refusal | None]  # path and body → an answer given instead of the endpoint's


@dataclass(slots=True)
class Gateway:
    """`rule` is asked for every request, in its own thread, and may do what the test wants to happen then."""

    url: str
    rule: Rule
    seen: list[tuple[float, str, int]] = field(default_factory=list)  # when, path, status
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, path: str, status: int = 200) -> int:
        return sum(one == (path, status) for one in [(path, status) for _, path, status in self.seen])

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


@contextmanager
def gateway(endpoint: str, rule: Rule) -> Iterator[Gateway]:
    """In front of `endpoint`, for as long as the context lasts."""
    with httpx.Client(base_url=endpoint, timeout=TIMEOUT_S) as client:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer("GET", b"")

            def do_POST(self) -> None:
                self._answer("POST", self.rfile.read(int(self.headers.get("content-length", "0"))))

            def log_message(self, *_: object) -> None:
                """Nothing on the test's standard error."""

            def _answer(self, method: str, body: bytes) -> None:
                with door.counted():
                    refusal = door.rule(self.path, body)
                    if refusal is not None:
                        content, status = json.dumps({"error": {"message": refusal.message}}).encode(), refusal.status
                        wait = refusal.retry_after
                    else:
                        keep = {
                            name: self.headers[name]
                            for name in ("content-type", "authorization")
                            if name in self.headers
                        }
                        answer = client.request(method, self.path, content=body, headers=keep)
                        content, status, wait = (
                            answer.content,
                            answer.status_code,
                            answer.headers.get("retry-after", ""),
                        )
                    door.seen.append((time.monotonic(), self.path, status))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                if wait:
                    self.send_header("retry-after", wait)
                self.end_headers()
                self.wfile.write(content)

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            server.block_on_close = False
            door = Gateway(f"http://127.0.0.1:{server.server_address[1]}", rule)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield door
            finally:
                server.shutdown()
                thread.join()


def let_pass(path: str, body: bytes) -> Refusal | None:
    """The rule that leaves everything to the endpoint."""
