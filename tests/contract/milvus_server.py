"""One real Milvus server for the whole session: the standalone 2.3.5 that its wheel brings, in a folder of its own.

It is the oldest release that the sink supports, and so the one that shows what newer ones hide.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

STARTED = "Ctrl+C"  # the last line that it prints
STOP_TIMEOUT_S = 20
TICKS_MS = {"PROXY_TIMETICKINTERVAL": "20"}  # a strong read waits for the next one: with the default of 200, minutes


@contextmanager
def running_milvus() -> Iterator[str]:
    """Its URI. In a process of its own, because the wheel leaves sockets open and changes the working folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="milvus-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-u", "-c", "import milvus; milvus.main()", "--data", folder]
        command += ["--proxy-port", str(port)]
        environment = {**os.environ, **TICKS_MS}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as server:
            assert server.stdout is not None
            try:
                assert any(STARTED in line for line in server.stdout), "Milvus did not start"
                yield f"http://127.0.0.1:{port}"
            finally:
                server.send_signal(signal.SIGINT)
                server.wait(STOP_TIMEOUT_S)


@pytest.fixture(scope="session")
def milvus_uri() -> Iterator[str]:
    with running_milvus() as uri:
        yield uri
