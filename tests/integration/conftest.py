"""One real cluster for the whole suite: `embedctl serve` on a tiny Qwen3 checkpoint, real Serve, real vLLM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
import ray

from cluster.local import connect
from serve_app.core.types import ReplicaCounters
from serve_app.slice_client import embedder_handle
from tests.tiny_qwen3 import build

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 60.0
CACHE = Path(__file__).parents[2] / ".cache"


@dataclass(frozen=True)
class RunningCluster:
    endpoint: str
    model: str
    checkpoint: Path


def embedctl(*arguments: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would; wide, so that tables do not wrap names."""
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    return build(CACHE / "tiny-qwen3")


@pytest.fixture(scope="session")
def cluster(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    port = free_port()
    log = tmp_path_factory.mktemp("cluster") / "serve.log"
    command = [sys.executable, "-m", "cluster.cli", "serve", "--model", str(checkpoint), "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        endpoint = f"http://127.0.0.1:{port}"
        try:
            _wait_ready(process, endpoint, log)
            yield RunningCluster(endpoint, checkpoint.name, checkpoint)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_WITHIN_S)
    assert process.returncode == 0, log.read_text()


@pytest.fixture(scope="session")
def counters(cluster: RunningCluster) -> Iterator[Callable[[], ReplicaCounters]]:
    """What the one Embedder replica has done so far, asked over its deployment handle."""
    connect("auto")
    handle = embedder_handle(cluster.model)

    def ask() -> ReplicaCounters:
        now: ReplicaCounters = handle.counters.remote().result(timeout_s=30)
        return now

    yield ask
    ray.shutdown()


@pytest.fixture(scope="session")
def client(cluster: RunningCluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cluster.endpoint}/v1", api_key="EMPTY", max_retries=0) as opened:
        yield opened


def _wait_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{endpoint}/ready", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    pytest.fail(f"the cluster did not become ready:\n{log.read_text()}")
