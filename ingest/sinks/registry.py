"""From a sink's URI to an open sink; drivers are imported when their scheme is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ingest.sinks.base import VectorSink
from serve_app.core.errors import SetupError

LITE_SCHEME = "milvus-lite:"
POSTGRES_SCHEMES = ("postgresql", "postgres")
SUPPORTED = (
    "milvus-lite:PATH (a folder on this machine), http://HOST:PORT or https://HOST:PORT (a Milvus server), "
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE (pgvector)"
)


@contextmanager
def open_sink(uri: str, create: bool = True) -> Iterator[tuple[VectorSink, str]]:
    """The sink, and the URI under which workers reach the same store with `connect_sink` while the context lasts.

    For `milvus-lite:PATH` the server of that folder is started or shared; its workers must run on this machine, and
    the folder is made unless `create` is False. Raises SetupError for another scheme or a store that is not there.
    """
    if not uri.startswith(LITE_SCHEME):
        with closing(connect_sink(uri)) as sink:
            yield sink, uri
        return
    path = uri.removeprefix(LITE_SCHEME)
    if not path:
        raise SetupError(f"The sink `{LITE_SCHEME}` names no folder; write for example {LITE_SCHEME}./vectors.")
    if not create and not Path(path).expanduser().is_dir():
        raise SetupError(
            f"There is no folder `{path}`, so nothing has been stored there; ingest first, or give --sink."
        )
    from ingest.sinks.lite_server import LiteServer

    with LiteServer(Path(path)) as server, closing(connect_sink(server.uri, place=path)) as sink:
        yield sink, server.uri


@contextmanager
def begun_early(uri: str) -> Iterator[None]:
    """A server that `open_sink` would have to wait for begins to start; other work fills the time until then."""
    path = uri.removeprefix(LITE_SCHEME)
    if not uri.startswith(LITE_SCHEME) or not Path(path).expanduser().is_dir() or not path:
        yield
        return
    from ingest.sinks import lite_server

    with lite_server.begun_early(Path(path)):
        yield


def connect_sink(uri: str, place: str = "") -> VectorSink:
    """A sink on a store that already runs; the caller closes it. Messages call it `place`, or by its address.

    Raises SetupError as `open_sink` does.
    """
    if _is_postgres(uri):
        return _postgres(uri)
    if not _is_server(uri):
        raise SetupError(f"The sink's address is not one of the supported: {SUPPORTED}.")
    from ingest.sinks.milvus import MilvusSink

    return MilvusSink(uri, place=place)


def _postgres(uri: str) -> VectorSink:
    try:
        from ingest.sinks.pgvector import PgVectorSink
    except ImportError as error:
        raise SetupError("PostgreSQL needs its driver: pip install 'embed-cluster[postgres]'.") from error
    return PgVectorSink(uri)


def _is_postgres(uri: str) -> bool:
    return uri.partition("://")[0] in POSTGRES_SCHEMES and "://" in uri


def _is_server(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:  # a port that is no number
        return False
