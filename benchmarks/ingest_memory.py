"""How much memory does an ingestion of a large file take? `python -m benchmarks.ingest_memory`, about half an hour.

The real pipeline on a whole gigabyte of JSONL, into PostgreSQL: Milvus Lite holds its collection in memory. The
checkpoint is the thinnest there is, because every token of the file goes through the engine.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import ingest_corpus, ingest_job, launch, trials
from benchmarks.contestants import Server
from benchmarks.corpus_stores import start_postgres
from benchmarks.ingest_corpus import MIB
from benchmarks.ingest_watch import JobProcesses, Memory, Watch, memory_of
from benchmarks.load import LoadFailed
from benchmarks.processes import start, stop, tail
from benchmarks.trials import Outcome, Plan

LOOK_EVERY_S = 1.0
QUICK_MIB = 8.0


def main(
    megabytes: Annotated[float, typer.Option(min=1, help="Size of the JSONL file, in MiB.")] = 1024.0,
    minutes: Annotated[float, typer.Option(min=0.5, help="A job that takes longer is ended and fails.")] = 90.0,
    quick: Annotated[bool, typer.Option("--quick", help="A small file: does it run at all?")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure the resident memory of all processes of a job that reads a large JSONL file to its end."""
    megabytes = QUICK_MIB if quick else megabytes
    plan = Plan("ingest_memory", 1, {"megabytes": megabytes}, resume, is_kept=not quick)
    folder = launch.CACHE / "ingest-memory"
    corpus = folder / f"corpus-{megabytes:g}.jsonl"
    sinks: list[str] = []

    def begin(stack: ExitStack) -> Server:
        ingest_corpus.write_jsonl(corpus, megabytes)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sinks.append(start_postgres(stack))
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE, launch.THIN))

    def measure(server: Server) -> Callable[[int], Outcome]:
        return lambda _: _stream(server, corpus, sinks[0], minutes * 60)

    trials.run(plan, begin, measure)


@dataclass(frozen=True, slots=True)
class Look:
    at_s: float
    memory: Memory
    processes: int


def _stream(server: Server, corpus: Path, sink: str, seconds: float) -> Outcome:
    """Raises LoadFailed unless the job ends well and in time."""
    before, looks = JobProcesses(server.process.pid), list[Look]()
    log, started = corpus.with_name("ingest.log"), time.perf_counter()
    process = start(ingest_job.arguments(server, corpus, sink), {}, log)

    def look() -> None:
        pids = before.all_pids(process.pid)
        looks.append(Look(time.perf_counter() - started, memory_of(pids), len(pids)))

    try:
        with Watch(look, LOOK_EVERY_S):
            while process.poll() is None and time.perf_counter() - started < seconds:
                time.sleep(LOOK_EVERY_S)
    finally:
        stop(process)
    if process.returncode != 0:
        took_s = time.perf_counter() - started
        raise LoadFailed(f"After {took_s:.0f} s the job ended with exit code {process.returncode}:\n{tail(log)}")
    told = ingest_job.report_in(log.read_text(encoding="utf-8", errors="replace"))
    return outcome(looks, corpus.stat().st_size / MIB, told)


def outcome(looks: Sequence[Look], file_mib: float, told: Mapping[str, float]) -> Outcome:
    """Raises LoadFailed if the job was never seen, or if the store does not hold what the job has made."""
    if not looks:
        raise LoadFailed("The job ended before anybody looked at its memory.")
    if not told["chunks"] == told["embedded"] == told["stored"]:
        raise LoadFailed(f"Of {told['chunks']:.0f} chunks, {told['stored']:.0f} are in the collection.")
    peak = max(looks, key=lambda look: look.memory.rss)
    series = {"seconds": [look.at_s for look in looks], "rss": [look.memory.rss for look in looks]}
    figures = {
        "file_mib": file_mib,
        "chunks": told["chunks"],
        "job_s": told["job_s"],
        "peak_rss_mib": peak.memory.rss,
        "peak_private_mib": max(look.memory.private for look in looks),
        "processes": peak.processes,
    }
    return Outcome(figures, series)


if __name__ == "__main__":
    typer.run(main)
