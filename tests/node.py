"""One node of a Ray cluster on this machine: a `ray start` and all that has come of it.

A process belongs to the node whose mark it has inherited in its environment, whoever its parent is by then, so that
nothing outlives a test.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "EMBED_TEST_NODE"
STARTED = "Ray runtime started"  # what `ray start` says
START_WITHIN_S, STOP_WITHIN_S = 240.0, 30.0


def wait_until(is_true: Callable[[], bool], what: str, within_s: float) -> float:
    """Seconds that it took. Raises AssertionError, naming `what` was waited for, if it does not happen in time."""
    started = time.monotonic()
    while not is_true():
        assert time.monotonic() - started < within_s, f"{what} did not happen within {within_s:.0f} s"
        time.sleep(0.1)
    took_s = time.monotonic() - started
    print(f"{what}: after {took_s:.1f} s")
    return took_s


@dataclass(slots=True)
class Node:
    """One `ray start --block` and all that has come of it."""

    name: str
    http_port: int
    command: list[str]
    environment: dict[str, str]
    directory: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.directory.with_suffix(".log")

    @property
    def endpoint(self) -> str:
        """Of the node's own HAProxy; it is there while Serve wants a proxy on this node."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def is_alive(self) -> bool:
        return bool(self.named("raylet"))

    @property
    def ray_id(self) -> str:
        """As Ray names the node. Raises ValueError if its raylet is not running."""
        (raylet,) = self.named("raylet")
        return next(value for word in raylet.cmdline() if (value := word.removeprefix("--node_id=")) != word)

    def launch(self) -> None:
        """Start the node, again if it has died: then with an empty disk, as a new pod."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with self.log.open("wb") as output:
            started = subprocess.Popen(
                self.command, stdout=output, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        self.started.append(started)

    def wait(self) -> None:
        """Returns when the node has joined. Raises AssertionError with its log if it does not.

        One that fails to start is started again, as a pod is: Ray gives its own processes 15 s, which is not enough on
        a busy machine.
        """
        deadline = time.monotonic() + START_WITHIN_S
        while STARTED not in (log := self.log.read_text()):
            assert time.monotonic() < deadline, f"{self.name} did not start:\n{log}"
            if self.started[-1].poll() is not None:
                self.kill()
                self.launch()
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        mark = self.environment[MARK]
        return [process for process in psutil.process_iter() if _mark_of(process) == mark]

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of the replicas, of a deployment whose name begins so, that run here."""
        return self.actors(f"ServeReplica:embed:{deployment}")

    def named(self, program: str) -> list[psutil.Process]:
        return [process for process in self.processes() if Path(_title_of(process).split(" ")[0]).name == program]

    def actors(self, title: str) -> list[psutil.Process]:
        return [process for process in self.processes() if _title_of(process).startswith(f"ray::{title}")]

    def kill(self) -> None:
        """As a machine dies: every process at once, and none can say goodbye."""
        doomed = self.processes()
        for process in doomed:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(doomed, timeout=STOP_WITHIN_S)
        for started in self.started:
            started.wait()

    def stop(self) -> None:
        """As Kubernetes ends a pod: a request to end, and death for what does not."""
        processes = self.processes()
        for process in processes:
            if " start --block " in _title_of(process):
                _signal(process, signal.SIGTERM)
        psutil.wait_procs(processes, timeout=STOP_WITHIN_S)
        self.kill()


def _mark_of(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK, "")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
