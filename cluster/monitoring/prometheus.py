"""A Prometheus of one's own on this machine, which looks at the running cluster until it is told to stop."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cluster.monitoring.files import as_yaml
from cluster.monitoring.rules import render_rules
from cluster.monitoring.scrape import RULES_FILE, ScrapedEndpoint, render_scrape
from serve_app.core.errors import SetupError

PROGRAM = "prometheus"
HOST = "127.0.0.1"
EVERY_S = 5  # somebody is looking
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0
ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Scraped:
    """`nodes`: HOST:PORT of the Ray nodes' metrics. `endpoint`: http(s)://HOST:PORT or empty; `key`: its API key."""

    nodes: Sequence[str]
    endpoint: str = ""
    key: str = ""


def node_targets() -> list[str]:
    """HOST:PORT of the metrics of every living Ray node. Needs a process that is connected to Ray."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in nodes if node["Alive"]]


def endpoint_answers(endpoint: str, key: str) -> bool:
    """Whether it gives its metrics. Raises SetupError if it wants another key."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        status = httpx.get(f"{endpoint.rstrip('/')}/metrics", headers=headers, timeout=ANSWER_WITHIN_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    if status in {401, 403}:
        raise SetupError(
            f"{endpoint} shows its metrics to API keys with the scope `admin` only: put one into the variable that "
            "--key-env names (EMBED_API_KEY)."
        )
    return status == httpx.codes.OK


@contextmanager
def local_prometheus(scraped: Scraped, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Prometheus with the product's rules on 127.0.0.1:`port`, ready; its data is gone with the context.

    Raises SetupError if the program is missing, the port is taken, or it does not start.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise SetupError(
            "The program `prometheus` is not installed: apt-get install prometheus (Debian, Ubuntu), or take it from "
            "prometheus.io, and put it on the PATH."
        )
    _check_free(port)
    with tempfile.TemporaryDirectory(prefix="embed-monitor-") as name:
        directory = Path(name)
        config = _write(directory, scraped)
        command = [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
        ]
        log = directory / "prometheus.log"
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:  # noqa: S603
            try:
                _wait_ready(process, port, log)
                yield process
            finally:
                _stop(process)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SetupError(
                f"Cannot listen on {HOST}:{port} ({error.strerror}): choose another port with --port."
            ) from error


def _write(directory: Path, scraped: Scraped) -> Path:
    """The directory is this user's alone, and so is the key in it."""
    endpoint = None
    if scraped.endpoint:
        key_file = directory / "key"
        key_file.write_text(scraped.key)
        endpoint = ScrapedEndpoint(scraped.endpoint, str(key_file) if scraped.key else "")
    (directory / RULES_FILE).write_text(as_yaml(render_rules()))
    config = directory / "prometheus.yaml"
    config.write_text(as_yaml(render_scrape(scraped.nodes, endpoint, EVERY_S)))
    return config


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"http://{HOST}:{port}/-/ready", timeout=1.0).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    lines = log.read_text(errors="replace").splitlines() or ["it said nothing"]
    raise SetupError(f"Prometheus did not start: {lines[-1]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
