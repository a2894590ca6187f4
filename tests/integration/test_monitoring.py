"""`embedctl monitor` on the running cluster: every panel of serving has data, every rule is sound, and it cleans up."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cluster.monitoring.panel import Panel, Query
from cluster.monitoring.panels import SERVING
from cluster.monitoring.rules import all_alerts
from tests.clusters import RunningCluster, embedctl, free_port, user_environment

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian package `prometheus`)"
)
READY_WITHIN_S, DATA_WITHIN_S, STOP_WITHIN_S = 60.0, 120.0, 30.0
PANELS = [panel for row in SERVING for panel in row.panels]
ALWAYS = [panel for panel in PANELS if not panel.empty_while]


@contextmanager
def traffic(cluster: RunningCluster) -> Iterator[None]:
    """A little of everything, refusals included, for as long as the block lasts. No text comes twice."""
    ended, numbers = threading.Event(), count()

    def send() -> None:
        with httpx.Client(base_url=cluster.endpoint, timeout=30) as client:
            while not ended.wait(0.3):
                for model, priority in ((cluster.model, "interactive"), (cluster.model, "bulk"), ("none", "bulk")):
                    body = {"model": model, "input": f"text {next(numbers)}", "priority": priority}
                    client.post("/v1/embeddings", json=body)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def value_of(prometheus: str, expression: str) -> list[float]:
    """The result's numbers."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=10)
    answer.raise_for_status()
    values = [float(sample["value"][1]) for sample in answer.json()["data"]["result"]]
    return [value for value in values if not math.isnan(value)]


def without_data(prometheus: str, panels: Sequence[Panel]) -> list[tuple[str, Query]]:
    asked = [(panel.title, query) for panel in panels for query in panel.queries]
    return [(title, query) for title, query in asked if not value_of(prometheus, query.filled_in())]


def until(seconds: float, log: Path, done: Callable[[], bool]) -> None:
    """Waits until `done()` is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(1)


@pytest.fixture(scope="module")
def prometheus(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the Prometheus of `embedctl monitor`, which must leave nothing behind."""
    port, log = free_port(), tmp_path_factory.mktemp("monitor") / "monitor.log"
    options = ("--address", cluster.address, "--endpoint", cluster.endpoint, "--port", str(port))
    with (
        traffic(cluster),
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "cluster.cli", "monitor", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=user_environment(),
        ) as process,
    ):
        try:
            until(READY_WITHIN_S, log, lambda: "Ctrl-C stops it" in log.read_text())
            children = psutil.Process(process.pid).children()
            address = f"http://127.0.0.1:{port}"
            until(DATA_WITHIN_S, log, lambda: not without_data(address, ALWAYS) or process.poll() is not None)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_WITHIN_S)
    assert process.returncode == 0, log.read_text()
    assert [child for child in children if child.is_running()] == []


def test_every_panel_of_serving_has_data(prometheus: str) -> None:
    assert without_data(prometheus, ALWAYS) == []


def test_what_may_be_empty_is_still_an_expression_that_prometheus_answers(prometheus: str) -> None:
    assert {title for title, _ in without_data(prometheus, PANELS)} <= {p.title for p in PANELS if p.empty_while}


def test_every_rule_is_loaded_and_sound(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    assert {rule["name"] for rule in rules() if rule["type"] == "alerting"} == {alert.name for alert in all_alerts()}
    assert [(rule["name"], rule["lastError"]) for rule in rules() if rule["health"] == "err"] == []


def test_no_alert_fires_on_a_sound_cluster(prometheus: str) -> None:
    assert value_of(prometheus, 'ALERTS{alertstate="firing",alertname=~"Embed.*"}') == []


def test_nodes_and_endpoint_are_both_read_and_count_the_same_requests(prometheus: str) -> None:
    assert value_of(prometheus, "up") == [1.0, 1.0]
    by_nodes = value_of(prometheus, 'sum(ray_embed_requests_total{status="404"})')
    by_endpoint = value_of(prometheus, 'sum(embed_requests_total{status="404"})')
    assert by_nodes[0] > 0
    assert by_nodes[0] <= by_endpoint[0]  # the nodes tell it up to 12 s later


def test_a_port_that_is_taken_is_one_sentence(prometheus: str, cluster: RunningCluster) -> None:
    port = prometheus.rpartition(":")[2]
    told = embedctl("monitor", "--address", cluster.address, "--endpoint", cluster.endpoint, "--port", port)
    assert told.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in told.stderr
    assert "choose another port with --port" in told.stderr
