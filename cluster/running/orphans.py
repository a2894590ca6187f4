"""Serve's HAProxy outlives a cluster that was killed, and keeps its port: find it, so that somebody can end it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PROCESSES = Path("/proc")
RAY_TITLE = b"ray::"  # how Ray names the processes of its actors; the one that started HAProxy is its parent


def orphaned_proxy(port: int, processes: Path = PROCESSES) -> int | None:
    """The process id of an HAProxy that listens on the port for a cluster that is gone; None if there is none."""
    for process in processes.glob("[0-9]*"):
        words = _read(process / "cmdline").split(b"\0")
        if not words[0].endswith(b"/haproxy") or _is_looked_after(process, processes):
            continue
        if port in _ports(words):
            return int(process.name)
    return None


def _is_looked_after(process: Path, processes: Path) -> bool:
    parent = re.search(rb"^PPid:\s*(\d+)", _read(process / "status"), re.MULTILINE)
    return parent is not None and _read(processes / parent[1].decode() / "cmdline").startswith(RAY_TITLE)


def _ports(command: list[bytes]) -> Iterator[int]:
    """Those that the configuration file of the command binds."""
    if b"-f" not in command[:-1]:
        return
    configuration = _read(Path(command[command.index(b"-f") + 1].decode()))
    for found in re.finditer(rb"^\s*bind\s+\S*:(\d+)", configuration, re.MULTILINE):
        yield int(found[1])


def _read(path: Path) -> bytes:
    """Empty where there is nothing to read: processes come and go."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
