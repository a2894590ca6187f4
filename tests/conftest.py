"""One real cluster for the whole suite: `embedctl serve` on a tiny Qwen3 checkpoint, real Serve, real vLLM."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
import ray

from cluster.running.local import connect
from serve_app.core.types import ReplicaCounters
from serve_app.dispatch.slice_client import embedder_handle
from tests.clusters import CACHE, RunningCluster, serving
from tests.reference import Reference
from tests.scheduling import TwoProcesses
from tests.tiny_qwen3 import build

os.environ.pop("COLUMNS", None)  # xdist sets it, and a Rich console that was made at import would keep to it
CONFIG = """
models:
  - path: {checkpoint}
    aliases: [text-embedding-3-small]
presets:
  contracts: Given a question about a contract, find the clause that answers it
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-stores",
        action="store_true",
        help="The whole contract on Milvus 2.3 too, which takes minutes more.",
    )
    parser.addoption("--kills", type=int, default=2, help="How often the crash test kills its job; `make chaos`: 20.")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> TwoProcesses:
    return TwoProcesses(config, log)


@pytest.fixture(autouse=True, scope="session")
def politeness(worker_id: str) -> None:
    """Tests of clusters measure time: the second process gets only the time that they leave."""
    if worker_id == "gw1":
        os.nice(10)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    return build(CACHE / "tiny-qwen3")


@pytest.fixture(scope="session")
def cluster(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    directory = tmp_path_factory.mktemp("cluster")
    config = directory / "cluster.yaml"
    config.write_text(CONFIG.format(checkpoint=checkpoint))
    with serving(checkpoint, directory / "serve.log", "--config", str(config)) as running:
        yield running


@pytest.fixture(scope="session")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


@pytest.fixture(scope="session")
def client(cluster: RunningCluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cluster.endpoint}/v1", api_key="EMPTY", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="session")
def counters(cluster: RunningCluster) -> Iterator[Callable[[], ReplicaCounters]]:
    """What the one Embedder replica has done so far, asked over its deployment handle."""
    connect(cluster.address)
    handle = embedder_handle(cluster.model)

    def ask() -> ReplicaCounters:
        now: ReplicaCounters = handle.counters.remote().result(timeout_s=30)
        return now

    yield ask
    ray.shutdown()
