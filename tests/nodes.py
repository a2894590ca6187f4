"""A Ray cluster of several nodes on this machine, each a `ray start` of its own, to be killed, drained and restarted.

What tells the nodes apart on one machine is what tells machines apart elsewhere: own ports, an own directory and an own
environment.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil

from cluster.environment import PORT_VARIABLES, node_environment
from tests.clusters import user_environment
from tests.node import MARK, Node

CANDIDATES = iter(random.sample(range(20_000, 29_000), 2000))  # each port once, in an order of every run's own
NODE_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # workers wait for their head so long; KubeRay sets the same
    "RAY_raylet_start_wait_time_s": "60",  # several nodes that start on one machine take their time
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}
OBJECT_STORE_BYTES = 128 * 2**20
COMMON_OPTIONS = (
    *("--min-worker-port", "0", "--max-worker-port", "0"),  # any free ones: all nodes would take them from one range
    *("--include-log-monitor", "false"),
    "--disable-usage-stats",
)
AGENT_PORTS = (  # the first is the same on every node by default; the raylet has to wait for those that agents choose
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)


@dataclass(slots=True)
class Nodes:
    """A head, which holds no replicas, and workers."""

    directory: Path
    head: Node
    environment: dict[str, str]
    workers: list[Node] = field(default_factory=list)
    started: int = 0

    @property
    def address(self) -> str:
        """Of Ray, for clients of the cluster."""
        return f"127.0.0.1:{self.head.command[self.head.command.index('--port') + 1]}"

    @property
    def everyone(self) -> list[Node]:
        return [self.head, *self.workers]

    def add_worker(self) -> Node:
        """One more node, which is there when this returns."""
        (worker,) = self.add_workers(1)
        return worker

    def add_workers(self, count: int) -> list[Node]:
        """More nodes with one logical CPU each, which are there when this returns."""
        added = [self._new_worker() for _ in range(count)]
        for worker in added:
            worker.launch()
        for worker in added:
            worker.wait()
        return added

    def _new_worker(self) -> Node:
        port = _port()
        own = {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port)}
        options = ["--address", self.address, "--num-cpus", "1"]
        self.started += 1
        worker = _node(f"worker{self.started}", port, options, {**self.environment, **own}, self.directory)
        self.workers.append(worker)
        return worker

    def forget(self, worker: Node) -> None:
        """The node is gone for good."""
        self.workers.remove(worker)

    def drain(self, worker: Node, deadline_s: int) -> None:
        """Announce that the node will be taken away, as a cloud does that wants its machine back."""
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test takes the machine away"]
        target = ["--address", self.address, "--node-id", worker.ray_id]
        limit = ["--deadline-remaining-seconds", str(deadline_s)]
        subprocess.run(
            [*_ray(), "drain-node", *target, *reason, *limit],
            check=True,
            capture_output=True,
            timeout=60,
            env=self.environment,
        )

    def replicas(self, deployment: str) -> list[psutil.Process]:
        return [process for node in self.everyone for process in node.replicas(deployment)]


@contextmanager
def nodes(workers: int, redis: str) -> Iterator[Nodes]:
    """A head and `workers` workers with one logical CPU each, until the block ends.

    `redis` is the HOST:PORT of the store in which the head keeps what it must know after its own death.
    """
    directory = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))  # sockets need a short path
    port = _port()
    common = {**user_environment(), **node_environment(), **NODE_ENVIRONMENT}
    options = ["--head", "--port", str(_port()), "--num-cpus", "0", "--include-dashboard", "false"]
    options += ["--ray-client-server-port", str(_port())]
    head = _node("head", port, options, {**common, "RAY_REDIS_ADDRESS": redis}, directory)
    cluster = Nodes(directory, head, common)
    try:
        head.launch()
        head.wait()
        cluster.add_workers(workers)
        yield cluster
    finally:
        for node in reversed(cluster.everyone):
            node.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _node(name: str, http_port: int, options: list[str], environment: dict[str, str], directory: Path) -> Node:
    agent_ports = [word for option in AGENT_PORTS for word in (option, str(_port()))]
    own = ["--object-store-memory", str(OBJECT_STORE_BYTES), "--temp-dir", str(directory / name)]
    ports = {variable: str(_port()) for variable in PORT_VARIABLES}
    command = [*_ray(), "start", "--block", *COMMON_OPTIONS, *options, *agent_ports, *own]
    marked = {**environment, **ports, MARK: f"{name}-{uuid4().hex}"}
    return Node(name, http_port, command, marked, directory / name)


def _port() -> int:
    """A free port that stays free while its node is down: none of those that the kernel gives to connections."""
    for port in CANDIDATES:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def _ray() -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts"]
