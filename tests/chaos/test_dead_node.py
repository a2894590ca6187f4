"""A machine dies while clients ask, and another one joins in its place."""

from __future__ import annotations

import time

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.traffic import traffic
from tests.node import wait_until

pytestmark = pytest.mark.chaos
WARM_S, SHORT_S = 2.0, 5.0
MOVED_WITHIN_S = 180.0


def test_no_request_fails_when_a_node_dies_and_a_node_that_joins_takes_its_replica(
    fleet_with_one_router: Fleet,
) -> None:
    fleet = fleet_with_one_router
    victim = fleet.worker_without("Router")
    assert victim.replicas("Embedder-")

    with traffic([fleet.endpoint], fleet.model) as seen:
        time.sleep(WARM_S)
        victim.kill()
        fleet.nodes.forget(victim)
        added = fleet.nodes.add_worker()
        wait_until(lambda: bool(added.replicas("Embedder-")), "a replica on the new node", MOVED_WITHIN_S)
        fleet.wait_well()

    assert seen.failed() == ""
    assert seen.longest_gap_s < SHORT_S
