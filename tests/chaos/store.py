"""A Redis of its own for a test: where Ray's head keeps what it must still know after its own death."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clusters import free_port
from tests.node import wait_until

START_WITHIN_S = 20.0


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """HOST:PORT of a server that keeps everything in memory and ends with the block. Skips the test without Redis."""
    program = shutil.which("redis-server") or pytest.skip("needs redis-server, as in apt-get install redis-server")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: _answers(port), "the start of Redis", START_WITHIN_S)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
