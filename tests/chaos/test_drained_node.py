"""A machine is taken away with notice while clients ask."""

from __future__ import annotations

import time

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.traffic import traffic
from tests.node import wait_until

pytestmark = pytest.mark.chaos
WARM_S = 2.0
MOVED_WITHIN_S = 180.0
DEADLINE_S = 300


def test_a_node_that_is_drained_leaves_once_its_replicas_answer_elsewhere(fleet: Fleet) -> None:
    leaving = fleet.worker_with("Embedder-")
    before = {process.pid for process in fleet.nodes.replicas("Embedder-")}
    its_own = {process.pid for process in leaving.replicas("Embedder-")}
    fleet.nodes.add_worker()

    with traffic([fleet.endpoint], fleet.model) as seen:
        time.sleep(WARM_S)
        fleet.nodes.drain(leaving, DEADLINE_S)
        wait_until(lambda: len(fleet.nodes.replicas("Embedder-")) > len(before), "a replica more", MOVED_WITHIN_S)
        assert its_own == {process.pid for process in leaving.replicas("Embedder-")}  # it stays until then
        wait_until(lambda: not leaving.is_alive, "the drained node leaving by itself", MOVED_WITHIN_S)
        leaving.stop()
        fleet.nodes.forget(leaving)
        fleet.wait_well()

    assert seen.failed() == ""
