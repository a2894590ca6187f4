"""`embedctl deploy | status | down` on a Ray cluster that was started without them, while requests come in."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import httpx
import pytest

from cluster.environment import free_ports, node_environment
from tests.chaos.traffic import traffic
from tests.clusters import embedctl, free_port, user_environment
from tests.node import MARK, Node, wait_until
from tests.nodes import (
    AGENT_PORTS,
    COMMON_OPTIONS,
    NODE_ENVIRONMENT,
    OBJECT_STORE_BYTES,
)

CPUS = 2
CONFIG = """
models:
  - {{path: {path}, name: tiny, engine: {{threads: 1, compile: false, step_texts: {step_texts}}}{more}}}
http: {{port: {port}}}
presets: {{{presets}}}
limits: {{{limits}}}
"""
OTHER_APPLICATION = """
import ray
from ray import serve

@serve.deployment(ray_actor_options={{"num_cpus": 0.1}})
class Other:
    async def __call__(self, request):
        return "still here"

ray.init(address="{address}")
serve.start(http_options={{"host": "{host}", "port": {port}}})
serve.run(Other.bind(), name="other", route_prefix="/other")
"""
NO_SERVE = """
import ray
from ray import serve

ray.init(address="{address}")
serve.shutdown()
"""
LONG_REQUEST = {"model": "tiny", "input": ["a contract about deliveries " * 20] * 2000, "dimensions": 32}


@dataclass(frozen=True)
class Deployment:
    """A Ray cluster, and `embedctl` to bring something onto it."""

    node: Node
    directory: Path
    checkpoint: Path

    @property
    def endpoint(self) -> str:
        return self.node.endpoint

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.node.command[self.node.command.index('--port') + 1]}"

    def deploy(
        self, *, path: str = "", step_texts: int = 64, more: str = "", presets: str = "", limits: str = ""
    ) -> subprocess.CompletedProcess[str]:
        config = self.directory / "cluster.yaml"
        port = self.node.http_port
        text = CONFIG.format(
            path=path or self.checkpoint, step_texts=step_texts, more=more, port=port, presets=presets, limits=limits
        )
        config.write_text(text, encoding="utf-8")
        return self.run("deploy", "--config", str(config), "--timeout", "300")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = embedctl(*arguments, "--address", self.address, timeout_s=600)
        print(arguments[0], done.returncode, done.stdout, done.stderr, sep="\n")  # pytest shows it where a test fails
        return done

    def python(self, source: str) -> None:
        """Run it in a process of its own, as another user of the cluster would."""
        subprocess.run([sys.executable, "-c", source], check=True, timeout=120, env=self.node.environment)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def replicas(self) -> dict[str, set[int]]:
        """The processes of both deployments."""
        return {name: {replica.pid for replica in self.node.replicas(name)} for name in ("Router", "Embedder-tiny")}

    def ask(self, **body: Any) -> httpx.Response:
        wanted = {"model": "tiny", "input": "hello", "dimensions": 32, **body}
        return httpx.post(f"{self.endpoint}/v1/embeddings", json=wanted, timeout=60)


@pytest.fixture(scope="module")
def cluster(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = Path(mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
    node = ray_node(directory)
    try:
        node.launch()
        node.wait()
        yield Deployment(node, tmp_path_factory.mktemp("lifecycle"), checkpoint)
    finally:
        node.kill()
        rmtree(directory, ignore_errors=True)


def ray_node(directory: Path) -> Node:
    """What `eval "$(embedctl env)" && ray start --head` starts, on ports of its own."""
    ports = ("--port", "--ray-client-server-port", *AGENT_PORTS)
    options = [word for option in ports for word in (option, str(free_port()))]
    options += ["--num-cpus", str(CPUS), "--include-dashboard", "false", "--temp-dir", str(directory)]
    options += ["--object-store-memory", str(OBJECT_STORE_BYTES)]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *COMMON_OPTIONS, *options]
    marked = {MARK: uuid4().hex, **user_environment(), **node_environment(), **NODE_ENVIRONMENT, **free_ports()}
    return Node("head", free_port(), command, marked, directory / "head")


@pytest.fixture(scope="module")
def deployed(cluster: Deployment) -> Deployment:
    done = cluster.deploy(presets="faq: Find the answer")
    assert done.returncode == 0, done.stderr
    assert "Router started" in done.stdout
    assert "Embedder-tiny started" in done.stdout
    return cluster


@contextmanager
def nothing_fails(deployment: Deployment, least: int = 20) -> Iterator[None]:
    """Requests from six clients, none of which tries anything again; at least so many are answered."""
    with traffic([deployment.endpoint], "tiny") as seen:
        wait_until(lambda: seen.answered > 0, "the first answer", 60)
        yield
    assert (seen.failed(), seen.answered >= least) == ("", True)


def test_a_cluster_without_an_application_says_so(cluster: Deployment) -> None:
    status = cluster.run("status")
    assert (status.returncode, "nothing is deployed" in status.stdout) == (1, True)
    down = cluster.run("down")
    assert (down.returncode, down.stdout.strip()) == (0, "Nothing was deployed.")


def test_a_first_deployment_that_does_not_start_is_removed_again(cluster: Deployment) -> None:
    failed = cluster.deploy(path="/nowhere/tiny")
    assert failed.returncode == 1
    assert "The new version did not start" in failed.stderr
    assert "/nowhere/tiny" in failed.stderr
    assert "It was removed again; nothing is deployed." in failed.stderr
    assert cluster.status()["problems"] == ["nothing is deployed: start it with `embedctl deploy`"]


def test_other_applications_are_left_alone_by_what_does_not_start_and_named_where_they_are_in_the_way(
    cluster: Deployment,
) -> None:
    host, port = "127.0.0.1", cluster.node.http_port
    cluster.python(OTHER_APPLICATION.format(address=cluster.address, host=host, port=port))
    failed = cluster.deploy(path="/nowhere/tiny")
    assert failed.returncode == 1
    assert "It was removed again; Serve stays for other." in failed.stderr
    assert httpx.get(f"{cluster.endpoint}/other", timeout=30).text == "still here"

    at_root = OTHER_APPLICATION.replace("/other", "/")
    cluster.python(at_root.format(address=cluster.address, host=host, port=port))
    refused = cluster.deploy()
    assert (refused.returncode, "application `other` has the route /" in refused.stderr) == (1, True)
    assert httpx.get(cluster.endpoint, timeout=30).text == "still here"
    cluster.python(NO_SERVE.format(address=cluster.address))


def test_the_status_of_what_is_deployed_is_well(deployed: Deployment) -> None:
    assert deployed.ask().status_code == 200
    status = deployed.status()
    (model,) = status["models"]
    assert (status["is_well"], status["problems"], status["routers_running"]) == (True, [], 1)
    assert (model["name"], model["running"], model["wanted"]) == ("tiny", 1, 1)
    assert model["fingerprint"]
    assert model["classes"]["interactive"]["requests"] >= 1
    assert 0 < model["classes"]["interactive"]["p50_s"] <= model["classes"]["interactive"]["p99_s"]
    assert deployed.run("status", "--endpoint", deployed.endpoint).returncode == 0


def test_presets_and_limits_change_in_place_while_requests_are_answered(deployed: Deployment) -> None:
    before, version = deployed.replicas(), deployed.status()["live_version"]
    with nothing_fails(deployed):
        done = deployed.deploy(presets="faq: Find the paragraph, law: Find the law", limits="max_inputs: 3")
        assert done.returncode == 0, done.stderr
        assert "Router kept its replicas" in done.stdout
        assert "limits.max_inputs" in done.stdout
        wait_until(lambda: deployed.ask(input=["a"] * 4).status_code == 400, "the new limit", 30)
    assert "the limit is 3" in deployed.ask(input=["a"] * 4).json()["error"]["message"]
    assert deployed.ask(model="tiny@law").status_code == 200
    assert deployed.replicas() == before
    assert deployed.status()["live_version"] != version


def test_a_new_version_takes_over_while_requests_are_answered(deployed: Deployment) -> None:
    before = deployed.replicas()
    with nothing_fails(deployed):
        done = deployed.deploy(step_texts=32, more=", aliases: [other]")
        assert done.returncode == 0, done.stderr
        assert "Embedder-tiny was replaced" in done.stdout
        assert deployed.ask(model="other").status_code == 200
        after = deployed.replicas()
    assert {name: pids & before[name] for name, pids in after.items()} == {"Router": set(), "Embedder-tiny": set()}


def test_a_version_that_does_not_start_is_taken_back_while_requests_are_answered(deployed: Deployment) -> None:
    before = deployed.replicas()
    with nothing_fails(deployed):
        failed = deployed.deploy(step_texts=32, more=", aliases: [other], golden: /nowhere/golden.json")
        assert failed.returncode == 1
        assert deployed.ask(model="other").status_code == 200
    assert "golden.json" in failed.stderr
    assert "The cluster is back to what ran before." in failed.stderr
    assert deployed.replicas()["Embedder-tiny"] == before["Embedder-tiny"]
    assert deployed.status()["is_well"]


def test_what_the_cluster_cannot_run_changes_nothing(deployed: Deployment) -> None:
    before = deployed.replicas()
    wrong = deployed.deploy(limits="max_inptus: 3")
    assert (wrong.returncode, "did you mean `max_inputs`?" in wrong.stderr) == (2, True)
    too_large = deployed.deploy(more=", replicas: 100")
    assert (too_large.returncode, "asks for 50.1 CPUs and the cluster has 2" in too_large.stderr) == (1, True)
    assert deployed.replicas() == before


def test_requests_under_way_are_answered_before_the_application_goes(deployed: Deployment) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.post(f"{deployed.endpoint}/v1/embeddings", json=LONG_REQUEST, timeout=300).status_code)

    assert deployed.deploy(step_texts=32, limits="request_timeout_s: 300").returncode == 0
    asking = threading.Thread(target=ask)
    asking.start()
    down = deployed.run("down", "--timeout", "300")
    asking.join()
    assert answers == [200]
    assert down.returncode == 0, down.stderr
    assert "Serve is stopped; the Ray cluster stays." in down.stdout
    assert deployed.node.is_alive
    assert deployed.status()["application"] == "NOT_DEPLOYED"
