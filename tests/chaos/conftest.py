"""One fleet for all these tests. Each leaves two nodes that are well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.store import redis
from tests.nodes import nodes


@pytest.fixture(scope="package")
def running_fleet(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with redis(tmp_path_factory.mktemp("redis")) as store, nodes(2, store) as cluster:
        yield Fleet(cluster, checkpoint)


@pytest.fixture
def fleet(running_fleet: Fleet) -> Fleet:
    running_fleet.want(routers=2)
    return running_fleet


@pytest.fixture
def fleet_with_one_router(running_fleet: Fleet) -> Fleet:
    running_fleet.want(routers=1)
    return running_fleet
