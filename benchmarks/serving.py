"""The serving benchmark: the cluster and its peers under the same loads, one right after the other.

`python -m benchmarks.serving` measures all cases in five pairs each, in less than eight minutes;
`python -m benchmarks.serving --cases short-64 --skip-peer --seconds 20` loads only the cluster, for a profiler.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import launch, report, rows
from benchmarks.cases import CASES, Case, choose
from benchmarks.contestants import Contestant, check_agreement
from benchmarks.load import check_wrk
from benchmarks.rows import Row
from benchmarks.session import Session
from cluster.config import has_gpu
from serve_app.core.errors import EmbedError, SetupError

console = Console()


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of loads a case; the report wants five or more.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one load.")] = 3.0,
    cases: Annotated[str, typer.Option(help=f"Some of {','.join(case.name for case in CASES)}; default: all.")] = "",
    skip_peer: Annotated[bool, typer.Option("--skip-peer", help="Load only the cluster and write no rows.")] = False,
) -> None:
    """Compare the cluster with vLLM's own API server and with the bare engine, on this machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        chosen = choose([name.strip() for name in cases.split(",") if name.strip()])
        _check_machine()
        with _session(pairs, seconds) as (session, stack, model):
            if skip_peer:
                _run_alone(session, stack, model, chosen)
            else:
                _run_pairs(session, stack, model, chosen)
    except EmbedError as error:
        console.print(f"[red]benchmark:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)


def _check_machine() -> None:
    check_wrk()
    if has_gpu():
        raise SetupError("Several engines are up at once here, which one GPU cannot hold: use a machine without a GPU.")


CACHE = Path(".cache").resolve()  # kept between runs, so that what is compiled for the checkpoint is found again


@contextmanager
def _session(pairs: int, seconds: float) -> Iterator[tuple[Session, ExitStack, Path]]:
    """A session, the stack that stops whatever is started for it, and the checkpoint all contestants serve."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress, ExitStack() as stack:
        session = Session(progress, pairs, seconds)
        session.say("building the checkpoint")
        CACHE.mkdir(exist_ok=True)
        model = launch.build_checkpoint(CACHE)
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
    peers: dict[str, list[Contestant]] = {"server": [], "engine": []}
    sizes = {case.texts for case in cases if case.against == "server"}
    for setting in launch.VLLM_SETTINGS if sizes else ():
        session.say(f"starting {setting}")
        server = launch.start_vllm(stack, setting, model)
        check_agreement(ours, server, sizes)
        peers["server"].append(server)
    for threads in launch.ENGINE_THREADS if any(case.against == "engine" for case in cases) else ():
        session.say(f"starting the bare engine on {threads} of {launch.CORES} cores")
        peers["engine"].append(launch.start_engine(stack, threads, model))
    ready_s = {c.label: c.ready_s for c in (ours, *peers["server"], *peers["engine"])}
    facts = rows.gather_facts({"cluster, start before": first_ready_s, **ready_s})
    session.expect([len(peers[case.against]) for case in cases])
    measured: list[Row] = []
    for case in cases:
        for row in session.pairs(ours, peers[case.against], case, facts):
            rows.append(rows.RESULTS, row)
            measured.append(row)
    report.show(report.lines(measured), console)


if __name__ == "__main__":
    typer.run(main)
