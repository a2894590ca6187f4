"""Clusters of their own for what would disturb other tests: dying replicas, full queues, keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.commands.keys import create_key
from tests.clusters import CACHE, RunningCluster, serving
from tests.resilience.place import Place, write_files
from tests.tiny_qwen3 import build

NARROW = 128
PAIR = """
models:
  - {{path: {checkpoint}, replicas: 2, engine: {{threads: 1, compile: false}}}}
  - {{path: {narrow}, name: narrow, engine: {{threads: 1, compile: false}}}}
"""
SMALL = """
models:
  - path: {checkpoint}
limits: {{max_queued_tokens: 8192, slice_tokens: 4096, max_wait_s: 2}}
router: {{cache_mib: 0}}
auth: {{keys_file: {keys}}}
observability: {{access_log: true}}
"""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A cluster that asks for a key, one that it takes, and the file that says so."""

    running: RunningCluster
    key: str
    keys_file: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def _config(text: str, directory: Path) -> tuple[str, str]:
    path = directory / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return "--config", str(path)


@pytest.fixture(scope="package")
def pair(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two replicas of one model, and one of another. The last test kills it, so its end need not be a good one."""
    directory = tmp_path_factory.mktemp("pair")
    narrow = build(CACHE / "tiny-narrow", hidden=NARROW, layers=2)
    config = _config(PAIR.format(checkpoint=checkpoint, narrow=narrow), directory)
    with suppress(AssertionError), serving(checkpoint, directory / "serve.log", *config) as running:
        yield running


@pytest.fixture(scope="package")
def small(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """One replica with short queues and no cache, which asks for keys and logs requests."""
    directory = tmp_path_factory.mktemp("small")
    keys = directory / "keys.yaml"
    key = create_key(keys, "tests", ["embed"])
    config = _config(SMALL.format(checkpoint=checkpoint, keys=keys), directory)
    with serving(checkpoint, directory / "serve.log", *config) as running:
        yield Keyed(running, key, keys)


@pytest.fixture
def place(cluster: RunningCluster, counters: object, tmp_path: Path) -> Place:
    """`counters` has connected this process to Ray."""
    write_files(tmp_path / "documents")
    return Place(tmp_path / "documents", f"milvus-lite:{tmp_path / 'milvus'}", cluster)
