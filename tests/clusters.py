"""Start `embedctl serve` for tests, as a user would, and look at its processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 60.0
CACHE = Path(__file__).parents[1] / ".cache"


@dataclass(frozen=True)
class RunningCluster:
    endpoint: str
    model: str
    checkpoint: Path
    process: subprocess.Popen[bytes]
    log: Path
    address: str  # of Ray

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of one deployment's replicas, found among the descendants of `embedctl serve`."""
        title = f"ray::ServeReplica:embed:{deployment}"
        return [child for child in psutil.Process(self.process.pid).children(recursive=True) if _is(child, title)]


def _is(process: psutil.Process, title: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(title)
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(checkpoint: Path, log: Path, *arguments: str) -> Iterator[RunningCluster]:
    """`embedctl serve` on a free port until the block ends. It must end with exit code 0 when asked to."""
    port = free_port()
    command = [sys.executable, "-m", "cluster.cli", "serve", "--port", str(port), *arguments]
    environment = user_environment()
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        endpoint = f"http://127.0.0.1:{port}"
        try:
            address = _wait_ready(process, log)
            yield RunningCluster(endpoint, checkpoint.name, checkpoint, process, log, address)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_WITHIN_S)
    assert process.returncode == 0, log.read_text()


def user_environment() -> dict[str, str]:
    """Nothing of this process's own settings for Ray; wide, so that tables do not wrap names."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return {name: value for name, value in environment.items() if not name.startswith("RAY_")}


def embedctl(*arguments: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    environment = user_environment()
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """Ray's address, which is printed once all models answer."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        printed = re.search(r"Ray's address, for `embedctl ingest`:\s+(\S+)", log.read_text())
        if printed:
            return printed[1]
        time.sleep(0.2)
    pytest.fail(f"the cluster did not become ready:\n{log.read_text()}")
