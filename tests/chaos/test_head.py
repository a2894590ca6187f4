"""The head node dies, with Ray's GCS, Serve's controller and a HAProxy on it, and comes back; Redis has stayed."""

from __future__ import annotations

import time

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.traffic import traffic
from tests.node import wait_until

pytestmark = pytest.mark.chaos
WARM_S, WITHOUT_HEAD_S = 2.0, 10.0
BACK_WITHIN_S = 180.0


def test_the_workers_answer_without_their_head_and_a_new_one_takes_them_over(fleet: Fleet) -> None:
    head, workers = fleet.nodes.head, fleet.nodes.workers
    replicas = sorted(process.pid for process in fleet.nodes.replicas(""))
    endpoints = [worker.endpoint for worker in workers if worker.replicas("")]

    with traffic(endpoints, fleet.model) as seen:
        time.sleep(WARM_S)
        head.kill()
        time.sleep(WITHOUT_HEAD_S)
        head.launch()
        head.wait()
        wait_until(lambda: bool(head.actors("ServeController")), "a new controller", BACK_WITHIN_S)
        fleet.wait_well()  # asks the head's own HAProxy
        said = fleet.deploy()

    assert seen.failed() == ""
    assert sorted(process.pid for process in fleet.nodes.replicas("")) == replicas
    assert said.count("kept its replicas") == 2
