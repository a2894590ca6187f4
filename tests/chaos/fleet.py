"""The application on several nodes, and what tests want to know of it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.node import Node, wait_until
from tests.nodes import Nodes

CONFIG = """
models:
  - path: {checkpoint}
    replicas: 2
    engine: {{threads: 1, compile: false}}
router: {{replicas: {routers}, cache_mib: 0}}
http: {{host: 0.0.0.0, port: {port}}}
"""
DEPLOY_WITHIN_S, WELL_WITHIN_S, LOOK_TIMEOUT_S = 300.0, 180.0, 20.0
OF_A_REPLICA = re.compile(r'^embed_engine_tokens_per_second\{[^}]*replica="([^"]+)"', re.MULTILINE)


@dataclass(slots=True)
class Fleet:
    """Two Embedder replicas and some Routers. A worker that holds a Router has room for one Embedder, not for two."""

    nodes: Nodes
    checkpoint: Path
    routers: int = 0  # as deployed

    @property
    def model(self) -> str:
        return self.checkpoint.name

    @property
    def endpoint(self) -> str:
        """The head's; no test but that of the head's death takes it away."""
        return self.nodes.head.endpoint

    def want(self, routers: int) -> None:
        """Bring the fleet to so many Routers and two Embedders that answer."""
        if routers != self.routers:
            self.routers = routers
            self.deploy()
        self.wait_well()

    def deploy(self) -> str:
        """What `embedctl deploy` says; it returns when the application is ready. Raises AssertionError if it fails."""
        path = self.nodes.directory / "cluster.yaml"
        port = self.nodes.head.http_port
        path.write_text(CONFIG.format(checkpoint=self.checkpoint, routers=self.routers, port=port))
        command = [
            sys.executable,
            "-m",
            "cluster.cli",
            "deploy",
            "--config",
            str(path),
            "--address",
            self.nodes.address,
        ]
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=DEPLOY_WITHIN_S, env=self.nodes.environment, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def answering(self) -> set[str]:
        """The Embedder replicas that a Router reaches now; none if the endpoint itself cannot be reached."""
        try:
            answer = httpx.get(f"{self.endpoint}/metrics", timeout=LOOK_TIMEOUT_S)
        except httpx.TransportError:
            return set()
        return set(OF_A_REPLICA.findall(answer.text))

    def wait_well(self) -> float:
        """Seconds until everything that is wanted is there again: two Embedders that answer, the Routers."""
        return wait_until(self._is_well, "all replicas answering", WELL_WITHIN_S)

    def _is_well(self) -> bool:
        return len(self.nodes.replicas("Router")) == self.routers and len(self.answering()) == 2

    def worker_with(self, deployment: str) -> Node:
        return next(worker for worker in self.nodes.workers if worker.replicas(deployment))

    def worker_without(self, deployment: str) -> Node:
        return next(worker for worker in self.nodes.workers if not worker.replicas(deployment))
