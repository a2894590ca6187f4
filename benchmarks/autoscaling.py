"""Autoscaling policies on simulated fleets: `python -m benchmarks.autoscaling`, about five minutes on one core."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import autoscaling_plots, autoscaling_report
from benchmarks.autoscaling_traces import TRACES
from benchmarks.autoscaling_trials import FLEETS, HELD_OUT_SEEDS, RESULTS, Row, compare, read
from benchmarks.rows import ROOT, append, gather_facts
from serve_app.core.errors import EmbedError, SetupError

IMAGES = ROOT / "docs" / "img"
QUICK_FLEETS = (32,)

console = Console()


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One fleet and one seed; writes nothing.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Rewrite page and pictures from the newest rows.")] = False,
) -> None:
    """Compare this product's policy with Serve's; write the rows, docs/autoscaling.md and its pictures."""
    if quick:
        autoscaling_report.show(_rows(QUICK_FLEETS, HELD_OUT_SEEDS[:1]), console)
        return
    rows = read(RESULTS) if report else _rows(FLEETS, HELD_OUT_SEEDS)
    if not rows:
        raise SetupError(f"There are no rows in {RESULTS}: run `python -m benchmarks.autoscaling` without --report.")
    if not report:
        for row in rows:
            append(RESULTS, row)
    autoscaling_report.show(rows, console)
    autoscaling_report.write(autoscaling_report.PAGE, rows)
    _draw(rows)


def _rows(fleets: tuple[int, ...], seeds: tuple[int, ...]) -> list[Row]:
    facts = gather_facts({})
    rows: list[Row] = []
    with _progress() as progress:
        task = progress.add_task("simulating", total=len(TRACES) * len(fleets))
        for trace in TRACES:
            for fleet in fleets:
                progress.update(task, description=f"{trace}, {fleet} replicas")
                rows += compare(facts, trace, fleet, seeds)
                progress.advance(task)
    return rows


def _draw(rows: Sequence[Row]) -> None:
    if find_spec("matplotlib") is None:
        console.print("matplotlib is not installed, so the pictures stay as they are: pip install matplotlib")
        return
    serve_words = {row.trace: row.settings["serve_tuned"] for row in rows if row.fleet == autoscaling_plots.FLEET}
    with _progress() as progress:
        for trace in progress.track(TRACES, description="drawing"):
            autoscaling_plots.draw(IMAGES, trace, serve_words[trace])
    autoscaling_plots.draw_costs(IMAGES)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except EmbedError as error:
        sys.exit(f"autoscaling: {error.message}")
