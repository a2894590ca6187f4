"""Case after case, each in a process of its own, and a row as soon as a load is measured."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import launch, rows
from benchmarks.gpu import device
from benchmarks.gpu.case_process import Failed, Job, parse
from benchmarks.gpu.cases import CASES, Case, Scale
from benchmarks.gpu.rows import GpuRow, Measured, missing_loads, read
from benchmarks.gpu.shapes import SHAPES, read_shape
from benchmarks.processes import Process, pipes, start, stop, tail
from benchmarks.rows import Facts
from serve_app.core.errors import SetupError

STOP_LIMIT_S = 45.0  # for servers that a case has started
TINY = "tiny"


@dataclass(frozen=True, slots=True)
class Model:
    """`name` is what rows call it."""

    name: str
    directory: Path
    is_dummy: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`limit_s` bounds a case, starts included. An empty `commit` means the one that is checked out."""

    cases: tuple[Case, ...]
    scale: Scale
    out: Path
    limit_s: float
    commit: str = ""


def build_model(name: str, *, is_dummy: bool) -> Model:
    """A checkpoint in the cache: 0.6B, 4B or 8B with random weights, `tiny`, or a link to the directory of that name.

    Raises SetupError.
    """
    if name == TINY:
        return Model(name, launch.build_checkpoint(launch.CACHE))
    launch.CACHE.mkdir(exist_ok=True)
    if name in SHAPES:
        directory = launch.CACHE / f"qwen3-embedding-{name.lower()}-{'dummy' if is_dummy else 'random'}"
        log = directory.with_name(f"{directory.name}.log")
        arguments = ["-m", "benchmarks.gpu.checkpoint", name, str(directory), *(["--dummy"] if is_dummy else [])]
        if start(arguments, {}, log).wait() != 0:
            raise SetupError(f"The checkpoint was not built:\n{tail(log)}")
        return Model(name, directory, is_dummy)
    given = Path(name).expanduser().resolve()
    read_shape(given)
    link = launch.CACHE / given.name.lower()  # logs lie beside the checkpoint that is served
    if link.resolve() != given:
        link.unlink(missing_ok=True)
        link.symlink_to(given)
    return Model(given.name, link)


def run(plan: Plan, model: Model, say: Callable[[str], None]) -> int:
    """Measure what has no row yet; returns how many loads or cases failed."""
    facts = rows.gather_facts({})
    facts = replace(facts, commit=plan.commit, is_dirty=False) if plan.commit else facts
    found, name = read(plan.out), device.device_name()
    possible = [case for case in plan.cases if _is_possible(case, model, say)]
    wanted = [_missing(case, found, _row(plan, model, facts, name, case)) for case in possible]
    wanted = [(case, row) for case, row in wanted if case.loads]
    if not wanted:
        say("all of these have rows already")
        return 0
    if wanted[0][0].kind != "ceilings":  # figures are judged against what the device gives in the same run
        wanted.insert(0, (CASES[0], _row(plan, model, facts, name, CASES[0])))
    failures = 0
    for case, row in wanted:
        say(f"{case.name}: {case.title}, {', '.join(case.loads)}")
        failures += _run_case(Job(case, plan.scale, str(model.directory), model.is_dummy), row, plan, say)
    return failures


def _missing(case: Case, found: Sequence[GpuRow], row: GpuRow) -> tuple[Case, GpuRow]:
    """The case with the loads that have no row yet."""
    return replace(case, loads=missing_loads(case, found, row)), row


def _is_possible(case: Case, model: Model, say: Callable[[str], None]) -> bool:
    reason = ""
    if case.precision == "fp8" and not device.has_gpu():
        reason = "fp8 needs a GPU"
    elif model.is_dummy and (case.kind in ("product", "peer") or case.precision == "fp8"):
        reason = "it needs a checkpoint with weights"
    if reason:
        say(f"{case.name}: left out, {reason}")
    return not reason


def _row(plan: Plan, model: Model, facts: Facts, name: str, case: Case) -> GpuRow:
    """The row of a case before it is measured."""
    settings: dict[str, Any] = {**case.settings, "is_dummy": model.is_dummy, "seconds": plan.scale.seconds}
    settings["step_tokens"] //= plan.scale.step_divisor
    return GpuRow(facts, rows.now(), name, model.name, case.name, settings, Measured("", {}))


def _run_case(job: Job, row: GpuRow, plan: Plan, say: Callable[[str], None]) -> int:
    log = Path(job.directory).with_name(f"gpu-{job.case.name}.log")
    process = start(["-m", "benchmarks.gpu.case_process", job.to_json()], {}, log, has_pipes=True)
    limits = (
        threading.Timer(plan.limit_s, process.send_signal, [signal.SIGINT]),
        threading.Timer(plan.limit_s + STOP_LIMIT_S, process.kill),
    )
    for limit in limits:
        limit.start()
    done = failed = 0
    try:
        for line in pipes(process)[1]:
            answer = parse(line)
            if isinstance(answer, Measured):
                done += 1
                rows.append(plan.out, replace(row, date=rows.now(), measured=answer))
                say(f"  {answer.load}: {spoken(answer.figures)}")
            elif isinstance(answer, Failed):
                failed += 1
                say(f"  {answer.load or job.case.name} failed: {answer.reason}")
    finally:
        for limit in limits:
            limit.cancel()
        _end(process)
    if done + failed < len(job.case.loads) and not failed:
        say(f"  {job.case.name} ended after {done} of {len(job.case.loads)} loads:\n{tail(log)}")
        failed += 1
    return failed


def _end(process: Process) -> None:
    """Give a case the time to stop its servers, which are in sessions of their own."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT_S)
    stop(process)


def spoken(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def listing(cases: Sequence[Case]) -> str:
    return "\n".join(f"{case.name:20} {case.title}: {', '.join(case.loads)}" for case in cases)
