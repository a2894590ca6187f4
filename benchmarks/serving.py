"""The serving benchmark: the cluster and its peers under the same loads, one right after the other.

`python -m benchmarks.serving` measures the cases against vLLM in five pairs each, in less than eight minutes;
`python -m benchmarks.serving --peers --resume` also those against Ray Serve LLM and Infinity, about as long again, and
leaves out what this commit has rows of already;
`python -m benchmarks.serving --cases short-64 --skip-peer --seconds 20` loads only the cluster, for a profiler.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import launch, report, rows
from benchmarks.cases import CASES, PEERS, Case, Opponent, choose
from benchmarks.contestants import Contestant, Server, check_agreement
from benchmarks.load import check_wrk
from benchmarks.rows import Facts, Row
from benchmarks.session import Session
from cluster.config import has_gpu
from serve_app.core.errors import EmbedError, SetupError

console = Console()


def main(  # noqa: PLR0913, PLR0917  # a command's options are its parameters
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of loads a case; the report wants five or more.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one load.")] = 3.0,
    cases: Annotated[str, typer.Option(help=f"Some of {','.join(case.name for case in CASES)}; default: all.")] = "",
    peers: Annotated[bool, typer.Option("--peers", help="Also against Ray Serve LLM and Infinity.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out cases that this commit has rows of.")] = False,
    skip_peer: Annotated[bool, typer.Option("--skip-peer", help="Load only the cluster and write no rows.")] = False,
) -> None:
    """Compare the cluster with vLLM's own API server, with the bare engine, and with other servers, on this machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        chosen = choose([name.strip() for name in cases.split(",") if name.strip()], peers)
        _check_machine()
        chosen = tuple(case for case in chosen if not (resume and _is_measured(case, pairs)))
        with _session(pairs, seconds) as (session, stack, model):
            if skip_peer:
                _run_alone(session, stack, model, chosen)
            elif chosen := _possible(chosen):
                _run_pairs(session, stack, model, chosen)
    except EmbedError as error:
        console.print(f"[red]benchmark:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)


def _is_measured(case: Case, pairs: int) -> bool:
    commit = rows.gather_facts({}).commit
    found = [row for row in rows.read(rows.RESULTS) if row.case == case.name and row.facts.commit == commit]
    runs = Counter(row.facts.run for row in found)
    return any(number >= pairs for number in runs.values())


def _possible(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Without the cases whose opponent cannot be started here; says which and why."""
    for reason in {launch.missing(case.against): None for case in cases if launch.missing(case.against)}:
        console.print(f"[yellow]left out:[/yellow] {escape(reason)}", soft_wrap=True)
    return tuple(case for case in cases if not launch.missing(case.against))


def _check_machine() -> None:
    check_wrk()
    if has_gpu():
        raise SetupError("Several engines are up at once here, which one GPU cannot hold: use a machine without a GPU.")


@contextmanager
def _session(pairs: int, seconds: float) -> Iterator[tuple[Session, ExitStack, Path]]:
    """A session, the stack that stops whatever is started for it, and the checkpoint all contestants serve."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress, ExitStack() as stack:
        session = Session(progress, pairs, seconds)
        session.say("building the checkpoint")
        model = launch.build_checkpoint(launch.CACHE)
        try:
            yield session, stack, model
        finally:
            session.say("stopping")


def _run_alone(session: Session, stack: ExitStack, model: Path, cases: Sequence[Case]) -> None:
    session.say("starting the cluster")
    ours = launch.start_cluster(stack, model)
    loads = {case.name: case for case in cases if case.against == "server"}
    report.show_alone({case: session.alone(ours, case) for case in loads.values()}, ours.ready_s, console)


def _run_pairs(session: Session, stack: ExitStack, model: Path, cases: Sequence[Case]) -> None:
    with ExitStack() as once:
        session.say("starting the cluster a first time: it compiles the model unless it has done so before")
        first_ready_s = launch.start_cluster(once, model).ready_s
        session.say("stopping it")
    session.say("starting the cluster")
    ours = launch.start_cluster(stack, model)
    facts = rows.gather_facts({"cluster, start before": first_ready_s, ours.label: ours.ready_s})
    session.expect([_CANDIDATES[case.against] for case in cases])
    measured: list[Row] = []
    for against in dict.fromkeys(case.against for case in cases):  # one kind of opponent at a time: idle ones cost too
        mine = [case for case in cases if case.against == against]
        try:
            for row in _pairs(session, ours, model, mine, facts):
                rows.append(rows.RESULTS, row)
                measured.append(row)
        except EmbedError as error:
            if against not in PEERS:
                raise
            console.print(f"[yellow]left out from here:[/yellow] {against}: {escape(error.message)}", soft_wrap=True)
    report.show(report.lines(measured), console)


def _pairs(session: Session, ours: Server, model: Path, cases: Sequence[Case], facts: Facts) -> Iterator[Row]:
    """Every pair of the cases, which are all against one kind of opponent."""
    against = cases[0].against
    with ExitStack() as stack:
        session.say(f"starting {against.replace('_', ' ')}")
        candidates = _start_opponents(stack, against, model)
        for candidate in candidates:
            if isinstance(candidate, Server):
                check_agreement(ours, candidate, {case.texts for case in cases})
        ready_s = facts.ready_s | {candidate.label: round(candidate.ready_s, 1) for candidate in candidates}
        for case in cases:
            yield from session.pairs(ours, candidates, case, replace(facts, ready_s=ready_s))


_CANDIDATES: dict[Opponent, int] = {
    "server": len(launch.VLLM_SETTINGS),
    "engine": len(launch.ENGINE_THREADS),
    "ray_serve_llm": len(launch.RAY_SERVE_LLM_SETTINGS),
    "infinity": 1,
}


def _start_opponents(stack: ExitStack, against: Opponent, model: Path) -> Sequence[Contestant]:
    """All settings of one kind of opponent."""
    if against == "server":
        return [launch.start_vllm(stack, setting, model) for setting in launch.VLLM_SETTINGS]
    if against == "engine":
        return [launch.start_engine(stack, threads, model) for threads in launch.ENGINE_THREADS]
    if against == "ray_serve_llm":
        return [launch.start_ray_serve_llm(stack, setting, model) for setting in launch.RAY_SERVE_LLM_SETTINGS]
    return [launch.start_infinity(stack, model)]


if __name__ == "__main__":
    typer.run(main)
