"""Processes of a healthy node die while clients ask: Serve's controller, a Router, HAProxy."""

from __future__ import annotations

import time

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.traffic import CLIENTS, traffic
from tests.node import wait_until

pytestmark = pytest.mark.chaos
WARM_S, SETTLED_S = 2.0, 5.0
BACK_WITHIN_S = 120.0


def test_traffic_goes_on_without_the_controller_and_a_new_one_takes_every_replica_over(fleet: Fleet) -> None:
    (controller,) = fleet.nodes.head.actors("ServeController")
    replicas = sorted(process.pid for process in fleet.nodes.replicas(""))

    with traffic([fleet.endpoint], fleet.model) as seen:
        time.sleep(WARM_S)
        controller.kill()
        wait_until(lambda: bool(fleet.nodes.head.actors("ServeController")), "a new controller", BACK_WITHIN_S)
        said = fleet.deploy()  # returns once the new controller has looked at every replica
        time.sleep(SETTLED_S)

    assert seen.failed() == ""
    assert sorted(process.pid for process in fleet.nodes.replicas("")) == replicas
    assert said.count("kept its replicas") == 2


def test_of_a_router_that_dies_clients_that_try_again_lose_nothing_and_others_what_it_held(fleet: Fleet) -> None:
    with (
        traffic([fleet.endpoint], fleet.model, is_patient=True) as patient,
        traffic([fleet.endpoint], fleet.model) as impatient,
    ):
        time.sleep(WARM_S)
        fleet.nodes.replicas("Router")[0].kill()
        time.sleep(SETTLED_S)
        fleet.wait_well()

    assert patient.failed() == ""
    assert sum(impatient.failures.values()) <= CLIENTS
    assert impatient.longest_gap_s < SETTLED_S  # the other Router went on at once


def test_when_a_haproxy_dies_clients_that_try_another_one_lose_nothing_and_it_comes_back(fleet: Fleet) -> None:
    dying, other = fleet.nodes.head, fleet.worker_with("Router")

    with traffic([dying.endpoint, other.endpoint], fleet.model, is_patient=True) as seen:
        time.sleep(WARM_S)
        for haproxy in dying.named("haproxy"):  # after a change of its servers there are two for a while
            haproxy.kill()
        wait_until(lambda: bool(dying.named("haproxy")), "a new HAProxy", BACK_WITHIN_S)
        time.sleep(SETTLED_S)

    assert seen.failed() == ""
    assert seen.retried["ConnectError"]
    fleet.wait_well()
