"""What an ingestion does while it runs, seen from outside: the engine's counters, and the processes of the job."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.processes import session_members
from benchmarks.usage import MIB, TICKS_PER_S
from serve_app.core.errors import SetupError

TOKENS, STEP_SECONDS = "embed_engine_tokens_total", "embed_engine_step_seconds_sum"
IDLE_WORKER = "ray::IDLE"
PARSING = "ray::MapWorker(MapBatches(ParseAndChunk)).submit"
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / MIB


@dataclass(frozen=True, slots=True)
class Counters:
    """Of all replicas together, since they started; `at` is on the clock of time.perf_counter."""

    at: float
    tokens: float
    step_s: float


def read_counters(endpoint: str) -> Counters:
    """Raises SetupError if the cluster does not tell."""
    try:
        answer = httpx.get(f"{endpoint}/metrics", timeout=30.0, trust_env=False)
    except httpx.TransportError as error:
        raise SetupError(f"{endpoint}/metrics did not answer: {type(error).__name__}.") from error
    if answer.status_code != 200:
        raise SetupError(f"{endpoint}/metrics answered {answer.status_code}.")
    return parse_counters(answer.text, time.perf_counter())


def parse_counters(exposition: str, at: float) -> Counters:
    sums = {TOKENS: 0.0, STEP_SECONDS: 0.0}
    for line in exposition.splitlines():
        name = line.partition("{")[0]
        if name in sums:
            sums[name] += float(line.rsplit(" ", 1)[1])
    return Counters(at, sums[TOKENS], sums[STEP_SECONDS])


@dataclass(frozen=True, slots=True)
class EngineWork:
    """Between the last look before the first token and the first look with all of them."""

    seconds: float
    tokens: float
    step_s: float  # of the span, how long the engines were computing


def engine_work(seen: Sequence[Counters]) -> EngineWork:
    """Raises SetupError if nothing was computed while it was looked."""
    growing = [index for index in range(1, len(seen)) if seen[index].tokens > seen[index - 1].tokens]
    if not growing:
        raise SetupError("The engine computed nothing during the job, so there is no rate of it.")
    first, last = seen[growing[0] - 1], seen[growing[-1]]
    return EngineWork(last.at - first.at, last.tokens - first.tokens, last.step_s - first.step_s)


@dataclass(slots=True)
class Watch:
    """Calls `look` every `every_s` in a thread of its own for as long as the context lasts.

    What `look` raises ends the watching and is raised again at the end of the context.
    """

    look: Callable[[], None]
    every_s: float
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _error: SetupError | None = None

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _watch(self) -> None:
        try:
            while not self._ended.wait(self.every_s):
                self.look()
        except SetupError as error:
            self._error = error


class JobProcesses:
    """The processes of a job that runs inside a cluster: its own session, and every worker the cluster starts for it.

    Workers are the cluster's children. One that was there before the job is the job's if it was idle then and is not
    any more. Nothing else may start workers meanwhile.
    """

    def __init__(self, cluster_session: int) -> None:
        self._session = cluster_session
        self._before = {pid: title_of(pid) for pid in session_members(cluster_session)}

    def workers(self) -> dict[int, str]:
        """Titles by pid, the descendants of workers included."""
        titles = {pid: title_of(pid) for pid in _with_descendants(session_members(self._session))}
        return {pid: title for pid, title in titles.items() if title and self._is_jobs(pid, title)}

    def _is_jobs(self, pid: int, title: str) -> bool:
        before = self._before.get(pid)
        return before is None or (before.startswith(IDLE_WORKER) and not title.startswith(IDLE_WORKER))

    def all_pids(self, job_pid: int) -> set[int]:
        """With the command, whatever it has started, and those in sessions of their own."""
        return set(self.workers()) | set(_with_descendants([job_pid]))

    def is_parsing(self) -> bool:
        return any(title.startswith(PARSING) for title in self.workers().values())


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident MiB of some processes: `rss` counts a page once for each that maps it, `private` only unshared ones."""

    rss: float
    private: float


def memory_of(pids: set[int]) -> Memory:
    rss = private = 0.0
    for pid in pids:
        with suppress(OSError, IndexError):  # it has ended meanwhile
            _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
            rss += int(resident) * PAGE_MIB
            private += (int(resident) - int(shared)) * PAGE_MIB
    return Memory(rss, private)


def busy_cpu_s() -> float:
    """CPU time of the whole machine since it started, idle and waiting left out."""
    first = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0].split()[1:]
    user, nice, system, _, _, irq, softirq = (int(ticks) for ticks in first[:7])
    return (user + nice + system + irq + softirq) / TICKS_PER_S


def title_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _with_descendants(pids: Sequence[int]) -> list[int]:
    """A worker's own children may lead sessions of their own."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, waiting = set(), list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return sorted(found)
