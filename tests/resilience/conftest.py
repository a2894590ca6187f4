"""Clusters of their own for what would disturb other tests: dying replicas, full queues, keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import RunningCluster, serving

PAIR = """
models:
  - path: {checkpoint}
    replicas: 2
    engine: {{threads: 1}}
"""
SMALL = """
models:
  - path: {checkpoint}
limits:
  max_queued_tokens: 8192
  max_wait_s: 2
router:
  cache_mib: 0
"""


def _serve(config: str, checkpoint: Path, directory: Path) -> Iterator[RunningCluster]:
    path = directory / "cluster.yaml"
    path.write_text(config.format(checkpoint=checkpoint))
    with serving(checkpoint, directory / "serve.log", "--config", str(path)) as running:
        yield running


@pytest.fixture(scope="module")
def pair(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two replicas of one model."""
    yield from _serve(PAIR, checkpoint, tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def small(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """One replica with short queues and no cache."""
    yield from _serve(SMALL, checkpoint, tmp_path_factory.mktemp("small"))
