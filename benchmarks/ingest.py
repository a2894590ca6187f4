"""How near is an ingestion to what its parts can do? `python -m benchmarks.ingest`, about 10 minutes.

A trial is a pair and more: the embed stage alone and the bare engine on the same slices, the other stages alone, the
whole `embedctl ingest` on the same corpus into an empty store, and the same command again with nothing changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import ingest_corpus, ingest_job, launch, trials
from benchmarks.contestants import Server, read_object
from benchmarks.ingest_engine import SLICES, load_slices
from benchmarks.ingest_job import Job, WatchedJob
from benchmarks.load import LoadFailed
from benchmarks.processes import START_LIMIT_S, Process, pipes, start, stop
from benchmarks.trials import Outcome, Plan
from ingest.settings import IngestSettings

CORES = os.cpu_count() or 1
ANSWER_LIMIT_S = 300.0
TRIAL_SLICES = 8  # what a setting of the bare engine is tried with before the trials
STAGES = ("parse", "embed", "write")
QUICK_CHUNKS = 300


def main(
    count_trials: Annotated[int, typer.Option("--trials", min=1, help="The report wants five or more.")] = 5,
    chunks: Annotated[int, typer.Option(min=100, help="About how many; bars are for 2,000 and more.")] = 2_300,
    quick: Annotated[bool, typer.Option("--quick", help="One trial of a small corpus: does it run at all?")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure the embed stage against the bare engine, the overlap of the stages, and a run with nothing to do."""
    count_trials, chunks = (1, QUICK_CHUNKS) if quick else (count_trials, chunks)
    plan = Plan("ingest", count_trials, {"chunks": chunks}, resume, is_kept=not quick)
    folder = launch.CACHE / "ingest"

    def begin(stack: ExitStack) -> Server:
        shutil.rmtree(folder, ignore_errors=True)
        ingest_corpus.write_folder(folder / "corpus", max(1, round(chunks / ingest_corpus.CHUNKS_A_FILE)))
        contestants.append(_Contestants(stack, folder))
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE))

    def measure(server: Server) -> Callable[[int], Outcome]:
        (mine,) = contestants
        mine.prepare(server)
        return lambda number: Outcome(mine.trial(server, number))

    contestants: list[_Contestants] = []
    trials.run(plan, begin, measure)


@dataclass(frozen=True, slots=True)
class Child:
    """A process of this benchmark that answers a line with a line."""

    process: Process
    log: Path

    def ask(self, line: object) -> dict[str, float]:
        """Raises LoadFailed if it ends or does not answer in time."""
        commands, _ = pipes(self.process)
        commands.write(f"{line}\n")
        commands.flush()
        return read_object(self.process, ANSWER_LIMIT_S, self.log)


class _Contestants:
    """The processes that are up during all trials; they and what they leave on disk are gone afterwards."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._stages: Child | None = None
        self._engine: Child | None = None
        self._slices = 0
        self._started: list[Process] = []

    def prepare(self, server: Server) -> None:
        """Start them, warm everything up, and keep the faster setting of the bare engine."""
        address, corpus = ingest_job.ray_address(server), self._folder / "corpus"
        self._stages = self._start("ingest_alone", address, server.target.model, str(corpus), str(self._folder))
        self._stages.ask("warm up")
        slices = self._folder / SLICES
        self._slices = len(load_slices(slices))
        at_once, model = str(IngestSettings().slices_in_flight), str(launch.CACHE / server.target.model)
        engines = [
            self._start("ingest_engine", model, str(threads), str(slices), at_once) for threads in launch.ENGINE_THREADS
        ]
        for engine in engines:
            engine.ask(min(2, self._slices))
        self._engine = max(engines, key=lambda engine: _rate(engine.ask(min(TRIAL_SLICES, self._slices))))
        for engine in engines:
            if engine is not self._engine:
                stop(engine.process)

    def trial(self, server: Server, number: int) -> dict[str, float]:
        """Which of a pair comes first turns from trial to trial."""
        if self._stages is None or self._engine is None:
            raise LoadFailed("The trial was not prepared.")
        bare = self._engine.ask(self._slices) if number % 2 else {}
        alone = self._stages.ask(number)
        bare = bare or self._engine.ask(self._slices)
        if alone["tokens"] != bare["tokens"]:
            raise LoadFailed(f"The stage embedded {alone['tokens']} tokens, the engine {bare['tokens']}.")
        store = self._folder / f"store-{number}"
        first = ingest_job.run_watched(server, self._folder / "corpus", store)
        again = ingest_job.run(server, self._folder / "corpus", store)
        shutil.rmtree(store)
        return figures(alone, bare, first, again)

    def _start(self, module: str, *arguments: str) -> Child:
        log = self._folder / f"{module}-{len(self._started)}.log"
        process = start(["-m", f"benchmarks.{module}", *arguments], {}, log, has_pipes=True)
        self._started.append(process)
        self._stack.callback(_stop_once, process)
        read_object(process, START_LIMIT_S, log)
        return Child(process, log)


def _stop_once(process: Process) -> None:
    if process.returncode is None:
        stop(process)


def _rate(work: Mapping[str, float]) -> float:
    return work["tokens"] / work["seconds"]


def figures(alone: Mapping[str, float], bare: Mapping[str, float], first: WatchedJob, again: Job) -> dict[str, float]:
    """Of one trial. Raises LoadFailed if the job did not do the work that the stages did alone."""
    told = first.job.told
    if not told["chunks"] == told["embedded"] == told["stored"] == alone["chunks"]:
        raise LoadFailed(f"The job stored {told['stored']:.0f} chunks, the stages alone made {alone['chunks']:.0f}.")
    embed, engine = alone["tokens"] / alone["embed_s"], _rate(bare)
    seconds = {stage: alone[f"{stage}_s"] for stage in STAGES}
    parse_s = seconds["parse"] / min(IngestSettings().parse.actors, CORES)
    slowest = max(parse_s, seconds["embed"], seconds["write"])
    work_s = first.job.ended_s - first.began_s
    floor_s = max(slowest, sum(alone[f"{stage}_cpu_s"] for stage in STAGES) / CORES)
    in_job = first.engine.tokens / first.engine.seconds
    return {
        "chunks": alone["chunks"],
        "tokens": alone["tokens"],
        "embed_tokens_per_s": embed,
        "engine_tokens_per_s": engine,
        "embed_ratio": embed / engine,
        "in_job_tokens_per_s": in_job,
        "in_job_ratio": in_job / engine,
        "in_job_engine_share": first.engine.step_s / first.engine.seconds,
        **{f"{stage}_alone_s": value for stage, value in seconds.items()},
        "start_s": first.began_s,
        "work_s": work_s,
        "overlap": work_s / slowest,
        "overlap_floor": floor_s / slowest,
        "overlap_with_start": first.job.ended_s / slowest,
        "cores_busy": first.cores_busy,
        "first_command_s": first.job.command_s,
        "again_command_s": again.command_s,
        "again_embedded": again.told["embedded"],
        "again_job_ratio": again.told["job_s"] / told["job_s"],
        "again_command_ratio": again.command_s / first.job.command_s,
    }


if __name__ == "__main__":
    typer.run(main)
