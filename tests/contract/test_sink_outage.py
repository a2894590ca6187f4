"""A store that is not there, or that goes away: one sentence that says so, and nothing of what was to be stored."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import pytest

from ingest.sinks.base import CollectionSpec, VectorSink
from ingest.sinks.milvus import MilvusSink
from ingest.sinks.pgvector import PgVectorSink
from serve_app.core.errors import SetupError
from tests.contract.proxy import Proxy
from tests.contract.rows import row

TIMEOUT_S = 3.0
RECONNECT_S = 30.0
POLL_S = 0.2


def connect(uri: str) -> VectorSink:
    """Like `connect_sink`, but it gives up soon."""
    return PgVectorSink(uri, TIMEOUT_S) if uri.startswith("postgres") else MilvusSink(uri, TIMEOUT_S)


def eventually(write: Callable[[], int]) -> int:
    """A driver waits a little before it tries to connect again."""
    deadline = time.monotonic() + RECONNECT_S
    while True:
        try:
            return write()
        except SetupError:
            assert time.monotonic() < deadline, "the sink did not connect again"
            time.sleep(POLL_S)


@pytest.fixture
def proxy(uri: str) -> Iterator[Proxy]:
    parts = urlsplit(uri)
    folder = parse_qs(parts.query).get("host")  # of a Unix socket
    target = f"{folder[0]}/.s.PGSQL.5432" if folder else (str(parts.hostname), int(parts.port or 0))
    with Proxy(target) as proxy:
        yield proxy


@pytest.fixture
def proxied(uri: str, proxy: Proxy) -> str:
    addresses: dict[str, Callable[[], str]] = {
        "http": lambda: f"http://127.0.0.1:{proxy.port}",
        "postgresql": lambda: f"postgresql://postgres:hidden-secret@127.0.0.1:{proxy.port}/postgres",
    }
    return addresses[urlsplit(uri).scheme]()


@pytest.mark.parametrize("scheme", ["http://user:hidden-secret@", "postgresql://user:hidden-secret@"])
def test_a_store_that_is_down_at_the_start_is_one_sentence(scheme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SetupError, match=f"127.0.0.1:{port}.*check that it runs there|cannot go on") as caught:
        connect(f"{scheme}127.0.0.1:{port}")
    assert "\n" not in caught.value.message
    assert "hidden-secret" not in caught.value.message


def test_a_store_that_goes_away_and_comes_back_loses_nothing_that_was_acknowledged(
    sink: VectorSink, proxy: Proxy, proxied: str, spec: CollectionSpec
) -> None:
    with closing(connect(proxied)) as own:
        own.ensure(spec)
        own.upsert(spec.name, [row("a")])

        proxy.close()
        with pytest.raises(SetupError) as caught:
            own.upsert(spec.name, [row("b", text="private words")])
        assert "\n" not in caught.value.message
        assert "private" not in caught.value.message
        assert "hidden-secret" not in caught.value.message
        with pytest.raises(SetupError):
            own.count(spec.name)

        proxy.open()
        assert eventually(lambda: own.upsert(spec.name, [row("b")])) == 1
    assert sink.count(spec.name) == 2
