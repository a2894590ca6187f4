"""What the cluster's processes use, read from /proc: CPU time and resident memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import LoadFailed
from benchmarks.processes import Process, session_members

REPLICA = "ray::ServeReplica:embed:"
ROUTER, EMBEDDER = f"{REPLICA}Router", f"{REPLICA}Embedder"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 2**20
UTIME, STIME = 11, 12  # fields of /proc/PID/stat, counted from the one after the name


@dataclass(frozen=True, slots=True)
class Replica:
    """A process of the cluster, by its pid."""

    pid: int

    def cpu_s(self) -> float:
        """User and system time of all its threads. Raises LoadFailed if the process is gone."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S

    def rss_mib(self) -> float:
        """Raises LoadFailed if the process is gone."""
        pages = int(self._read("statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MIB

    def _read(self, name: str) -> str:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text(encoding="utf-8")
        except OSError as error:
            raise LoadFailed(f"The process {self.pid} ended under load.") from error


def find_replica(cluster: Process, title: str) -> Replica:
    """The one replica of the cluster whose process title starts so. Raises LoadFailed unless there is exactly one."""
    pids = [pid for pid in session_members(cluster.pid) if _title(pid).startswith(title)]
    if len(pids) != 1:
        raise LoadFailed(f"The cluster has {len(pids)} processes {title}*, wanted one.")
    return Replica(pids[0])


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
