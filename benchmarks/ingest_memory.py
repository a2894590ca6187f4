"""How much memory does an ingestion of a large file take? `python -m benchmarks.ingest_memory`, about 6 minutes.

The real pipeline on a real file of a gigabyte, for a limited time: embedding all of it would take hours on a small
machine. What is measured is therefore the peak while it streams, how far it got, and whether memory still grew.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import Tokenizer

from benchmarks import ingest_corpus, ingest_job, launch, trials
from benchmarks.contestants import Server
from benchmarks.ingest_corpus import MIB
from benchmarks.ingest_watch import JobProcesses, Memory, Watch, memory_of, read_counters, title_of
from benchmarks.load import LoadFailed
from benchmarks.processes import session_members, start, stop, tail
from benchmarks.soak import slope_per_minute
from benchmarks.trials import Outcome, Plan

LOOK_EVERY_S = 0.5
WARM_UP_SHARE = 0.4
SAMPLE_BYTES = MIB
RAYLET = re.compile(r"/raylet\x00")
QUICK_MIB, QUICK_MINUTES = 64.0, 0.7


def main(
    megabytes: Annotated[float, typer.Option(min=1, help="Size of the JSONL file, in MiB.")] = 1024.0,
    minutes: Annotated[float, typer.Option(min=0.5, help="The job is ended after this time.")] = 5.0,
    quick: Annotated[bool, typer.Option("--quick", help="A small file for a short time: does it run at all?")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure the resident memory of all processes of a job that reads a large JSONL file."""
    megabytes, minutes = (QUICK_MIB, QUICK_MINUTES) if quick else (megabytes, minutes)
    plan = Plan("ingest_memory", 1, {"megabytes": megabytes, "minutes": minutes}, resume, is_kept=not quick)
    folder = launch.CACHE / "ingest-memory"
    corpus = folder / f"corpus-{megabytes:g}.jsonl"

    def begin(stack: ExitStack) -> Server:
        ingest_corpus.write_jsonl(corpus, megabytes)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE))

    def measure(server: Server) -> Callable[[int], Outcome]:
        return lambda _: _stream(server, corpus, folder / "store", minutes * 60)

    trials.run(plan, begin, measure)


@dataclass(frozen=True, slots=True)
class Look:
    at_s: float
    memory: Memory
    store_mib: float  # resident in Ray's store process
    processes: int


def _stream(server: Server, corpus: Path, store: Path, seconds: float) -> Outcome:
    """Raises LoadFailed if the job ends by itself before its time without having done the whole file."""
    before, looks = JobProcesses(server.process.pid), list[Look]()
    raylets = {pid for pid in session_members(server.process.pid) if RAYLET.search(title_of(pid))}
    tokens = read_counters(server.target.endpoint).tokens
    log, started = store.with_name("ingest.log"), time.perf_counter()
    process = start(ingest_job.arguments(server, corpus, store), {}, log)

    def look() -> None:
        pids = before.all_pids(process.pid)
        at_s = time.perf_counter() - started
        looks.append(Look(at_s, memory_of(pids), memory_of(raylets).rss, len(pids)))

    try:
        with Watch(look, LOOK_EVERY_S):
            while process.poll() is None and time.perf_counter() - started < seconds:
                time.sleep(LOOK_EVERY_S)
        if process.poll() not in (None, 0):
            raise LoadFailed(f"The job ended with exit code {process.returncode}:\n{tail(log)}")
        embedded = read_counters(server.target.endpoint).tokens - tokens
    finally:
        stop(process)
    if not embedded:
        raise LoadFailed(f"Nothing was embedded in {seconds:.0f} s: choose more --minutes.")
    return outcome(looks, corpus.stat().st_size / MIB, embedded / tokens_per_mib(corpus, launch.CACHE))


def tokens_per_mib(corpus: Path, cache: Path) -> float:
    """Of the file as it lies on disk, from its beginning."""
    with corpus.open("rb") as file:
        lines = file.read(SAMPLE_BYTES).rpartition(b"\n")[0]
    tokenizer = Tokenizer.from_file(str(cache / launch.TINY.name / "tokenizer.json"))
    encoded = tokenizer.encode_batch(lines.decode().splitlines())
    return sum(len(encoding.ids) for encoding in encoded) / (len(lines) / MIB)


def outcome(looks: Sequence[Look], file_mib: float, done_mib: float) -> Outcome:
    """Raises LoadFailed if the job was never seen."""
    if not looks:
        raise LoadFailed("The job ended before anybody looked at its memory.")
    peak = max(looks, key=lambda look: look.memory.rss)
    series = {"seconds": [look.at_s for look in looks], "rss": [look.memory.rss for look in looks]}
    figures = {
        "file_mib": file_mib,
        "done_mib": min(done_mib, file_mib),
        "peak_rss_mib": peak.memory.rss,
        "peak_private_mib": max(look.memory.private for look in looks),
        "store_mib": max(look.store_mib for look in looks) - looks[0].store_mib,
        "slope": slope_per_minute(series["seconds"], series["rss"], WARM_UP_SHARE * looks[-1].at_s),
        "processes": peak.processes,
    }
    return Outcome(figures, series)


if __name__ == "__main__":
    typer.run(main)
