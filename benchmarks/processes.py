"""Child processes that are certain to end: each leads a session of its own, and the whole session is ended with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import httpx

from benchmarks.rows import ROOT
from serve_app.core.errors import SetupError

HOST = "127.0.0.1"
START_LIMIT_S = 300.0
STOP_GRACE_S = 10.0
POLL_S = 0.1
TAIL_CHARACTERS = 600

Process = subprocess.Popen[str]


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    has_pipes: bool = False,
    program: str = sys.executable,
) -> Process:
    """This Python, or another program, with `arguments`; what it says goes to `log`.

    With pipes its stdin and stdout are ours.
    """
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(
            [program, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if has_pipes else output,
            stderr=output,
            text=True,
            start_new_session=True,
        )


def wait_until_ready(process: Process, url: str, log: Path) -> None:
    """Return once `url` answers 200. Raises SetupError with the end of the log if that never comes."""
    with httpx.Client(timeout=10.0, trust_env=False) as client:

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return client.get(url).status_code == 200
            return False

        _wait(process, answers, f"{url} did not answer 200", log)


def wait_until_said(process: Process, words: str, log: Path) -> None:
    """Return once the process has printed `words`. Raises SetupError with the end of the log if that never comes."""

    def has_said() -> bool:
        return words in log.read_text(encoding="utf-8", errors="replace")

    _wait(process, has_said, f"A server did not say `{words}`", log)


def _wait(process: Process, is_ready: Callable[[], bool], complaint: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SetupError(f"A server ended with exit code {process.returncode} while it started:\n{tail(log)}")
        if is_ready():
            return
        time.sleep(POLL_S)
    raise SetupError(f"{complaint} within {START_LIMIT_S:.0f} s:\n{tail(log)}")


def stop(process: Process) -> None:
    """Ask the process to end as Ctrl-C would, then end whatever is left of its session. Call it once a process."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for pid in session_members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def pipes(process: Process) -> tuple[IO[str], IO[str]]:
    """(stdin, stdout) of a process that was started with pipes."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("This process was started without pipes.")
    return process.stdin, process.stdout


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 10):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise SetupError(f"The ports {first} to {first + 9} are all in use: stop what uses them.")


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-TAIL_CHARACTERS:]


def session_members(leader: int) -> list[int]:
    """Every process of the session, orphans included. The kernel gives out no pid that is still a session's id."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(entry.name)) == leader:
                    members.append(int(entry.name))
    return members
