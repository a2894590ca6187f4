"""`embedctl ingest` as a user runs it, with the moments that matter."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.contestants import Server
from benchmarks.ingest_watch import (
    Counters,
    EngineWork,
    JobProcesses,
    Watch,
    busy_cpu_s,
    engine_work,
    read_counters,
)
from benchmarks.launch import CACHE
from benchmarks.load import LoadFailed
from benchmarks.processes import Process, pipes, start, stop, tail, wait_until_said

COLLECTION = "benchmark"
LIMIT_S = 600.0
LOOK_EVERY_S = 0.1
REPORT_TITLE = "Ingestion"
LAST_WORDS = "Ctrl-C stops the cluster"
TOP_OF_JOB = {"embedded": "embedded now", "chunks": "chunks", "stored": "in the collection", "job_s": "time"}
_ADDRESS = re.compile(r"\b[\w.-]+:\d+$", re.MULTILINE)
_ROW = re.compile(r"│\s*(?P<name>[^│]+?)\s*│\s*(?P<value>[\d.,]+)[^│]*│")


@dataclass(frozen=True, slots=True)
class Job:
    """What one command reported, and seconds since it was started."""

    told: dict[str, float]  # keys of TOP_OF_JOB
    ended_s: float  # the job, when its report was printed
    command_s: float


@dataclass(frozen=True, slots=True)
class WatchedJob:
    """A job with what was seen meanwhile."""

    job: Job
    began_s: float  # the first file was being parsed; before that, processes start
    engine: EngineWork
    cores_busy: float  # of the whole machine, from then to the end of the job


def ray_address(server: Server) -> str:
    """What the cluster says a moment after it is ready. Raises LoadFailed if it says none."""
    log = CACHE / f"{urlsplit(server.target.endpoint).port}.log"
    wait_until_said(server.process, LAST_WORDS, log)
    return address_in(log.read_text(encoding="utf-8", errors="replace"))


def address_in(log: str) -> str:
    found = _ADDRESS.findall(log.rpartition("Ray's address")[2])
    if not found:
        raise LoadFailed("The cluster's log names no Ray address, so no job can join it.")
    return str(found[0])


def report_in(output: str) -> dict[str, float]:
    """Figures of the table at the end of `embedctl ingest`. Raises LoadFailed if it is not whole."""
    table = output.rpartition(REPORT_TITLE)[2]
    rows = {match["name"]: match["value"] for match in _ROW.finditer(table)}
    try:
        return {key: float(rows[name].replace(",", "")) for key, name in TOP_OF_JOB.items()}
    except (KeyError, ValueError) as error:
        raise LoadFailed(f"`embedctl ingest` printed no whole report: {error}.") from error


def arguments(server: Server, corpus: Path, sink: str) -> Sequence[str]:
    options = ("--collection", COLLECTION, "--sink", sink, "--model", server.target.model)
    return ("-m", "cluster.cli", "ingest", str(corpus), *options, "--address", ray_address(server))


def run(server: Server, corpus: Path, store: Path) -> Job:
    """Raises LoadFailed unless the job ends well."""
    log = store.with_name("ingest.log")
    with ExitStack() as stack:
        started = time.perf_counter()
        process = start(arguments(server, corpus, f"milvus-lite:{store}"), {}, log, has_pipes=True)
        stack.callback(stop, process)
        killer = threading.Timer(LIMIT_S, process.kill)
        killer.start()
        stack.callback(killer.cancel)
        lines, ended_s = _read(process, started)
        code = process.wait()
        command_s = time.perf_counter() - started
    if code != 0:
        raise LoadFailed(f"`embedctl ingest` ended with exit code {code}:\n{lines[-600:]}\n{tail(log)}")
    return Job(report_in(lines), ended_s, command_s)


def _read(process: Process, started: float) -> tuple[str, float]:
    """(everything it printed, seconds until its report)."""
    lines, ended_s = [], 0.0
    for line in pipes(process)[1]:
        lines.append(line)
        if line.strip() == REPORT_TITLE:
            ended_s = time.perf_counter() - started
    return "".join(lines), ended_s


def run_watched(server: Server, corpus: Path, store: Path) -> WatchedJob:
    """Raises LoadFailed unless the job ends well and was seen to work."""
    processes = JobProcesses(server.process.pid)
    seen: list[Counters] = [read_counters(server.target.endpoint)]
    began: list[tuple[float, float]] = []
    started = time.perf_counter()

    def look() -> None:
        if not began:
            if processes.is_parsing():
                began.append((time.perf_counter() - started, busy_cpu_s()))
        else:
            seen.append(read_counters(server.target.endpoint))

    with Watch(look, LOOK_EVERY_S):
        job = run(server, corpus, store)
        cpu_at_exit = busy_cpu_s()
    if not began:
        raise LoadFailed("No parsing actor was seen at work, so it is not known when the job began.")
    began_s, cpu_s = began[0]
    return WatchedJob(job, began_s, engine_work(seen), (cpu_at_exit - cpu_s) / (job.command_s - began_s))
