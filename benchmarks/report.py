"""Rows in, tables out: `python -m benchmarks.report` writes them into the documentation, between its markers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import plots, scenario_report, trials
from benchmarks.cases import CASES, PEERS, Case, Metric
from benchmarks.rows import RESULTS, ROOT, Figures, Row, read
from benchmarks.tables import markdown, number, replace_between_markers, where
from serve_app.core.errors import EmbedError, SetupError

PAGE = ROOT / "docs" / "benchmarks.md"
MIN_PAIRS = 5  # fewer say too little about a machine that is never quite still
UNITS: dict[Metric, str] = {"requests_per_s": "requests/s", "p50_ms": "p50, ms", "tokens_per_s": "tokens/s"}
FIGURE_HEADINGS = ("case", "of", "requests/s", "p50, ms", "p99, ms", "tokens/s", "client CPUs")
HEADINGS = ("case", "figure", "cluster", "peer", "ratio", "least – most", "bar", "beyond", "verdict", "against")


@dataclass(frozen=True, slots=True)
class Line:
    """One case of one run: medians over its pairs; `low` and `high` are the least and the greatest ratio of a pair."""

    case: Case
    peer: str
    pairs: int
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        case = self.case
        if case.goal is not None and case.reaches(self.ratio, case.goal):
            return "beyond"
        if case.bar is not None:
            return "met" if case.reaches(self.ratio, case.bar) else "missed"
        return "not reached" if case.goal is not None else ""

    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS."""
        sign = "≤" if self.case.is_lower_better else "≥"
        limits = tuple(f"{sign} {limit}" if limit is not None else "" for limit in (self.case.bar, self.case.goal))
        figures = (number(self.ours), number(self.theirs), f"{self.ratio:.2f}", f"{self.low:.2f} – {self.high:.2f}")
        return (self.case.title, UNITS[self.case.metric], *figures, *limits, self.verdict, self.peer)


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line for each case that the rows, all of one run, have pairs of; in the order of the cases."""
    mine = {case: [row for row in rows if row.case == case.name] for case in CASES}
    return [_line(case, pairs) for case, pairs in mine.items() if pairs]


def latest_pairs(rows: Sequence[Row]) -> list[Row]:
    """Of each case the rows of the newest run that has enough pairs of it. Raises SetupError if a case has none.

    Cases against PEERS, which not every machine can start, may be missing.
    """
    chosen: list[Row] = []
    for case in CASES:
        pairs = _latest(rows, case)
        if not pairs and case.against not in PEERS:
            raise SetupError(
                f"No run has {MIN_PAIRS} pairs of {case.name}: run `python -m benchmarks.serving --cases {case.name}`."
            )
        chosen += pairs
    return chosen


def _latest(rows: Sequence[Row], case: Case) -> list[Row]:
    mine = [row for row in rows if row.case == case.name]
    for run in sorted({row.facts.run for row in mine}, reverse=True):
        pairs = [row for row in mine if row.facts.run == run]
        if len(pairs) >= MIN_PAIRS:
            return pairs
    return []


def render(rows: Sequence[Row]) -> str:
    """Markdown: where the cases were measured, the table, and how long each contestant needed to start."""
    ratios = markdown(HEADINGS, [line.cells() for line in lines(rows)])
    figures = markdown(FIGURE_HEADINGS, _figure_cells(rows))
    ready_s = {name: seconds for row in rows for name, seconds in row.facts.ready_s.items()}
    starts = markdown(("start of", "seconds"), [(name, f"{seconds:.0f}") for name, seconds in ready_s.items()])
    return "\n\n".join([_where(rows), ratios, figures, starts])


def _where(rows: Sequence[Row]) -> str:
    """One line a run; with several runs each names its cases."""
    runs = {row.facts.run: row.facts for row in rows}
    if len(runs) == 1:
        return where(rows[0].facts)
    cases = {run: dict.fromkeys(row.case for row in rows if row.facts.run == run) for run in runs}
    return "\n".join(f"- {', '.join(cases[run])}: {where(facts)}" for run, facts in runs.items())


def show(table_lines: Sequence[Line], console: Console) -> None:
    """The gist of the same table on a terminal."""
    table = Table("case", *HEADINGS[1:5], "verdict", "against")
    for line in table_lines:
        table.add_row(line.case.name, *line.cells()[1:5], *line.cells()[8:])
    console.print(table)


def show_alone(figures: Mapping[Case, Sequence[Figures]], ready_s: float, console: Console) -> None:
    """Medians of loads that had no peer."""
    table = Table(*FIGURE_HEADINGS)
    for case, loads in figures.items():
        table.add_row(case.name, "cluster", *_medians(loads))
    console.print(table)
    console.print(f"ready in {ready_s:.1f} s")


def write(page: Path, results: Path, scenario_results: Path) -> None:
    """Bring the tables of `page` up to date with both files of results."""
    text = page.read_text(encoding="utf-8")
    text = replace_between_markers(text, "serving", render(latest_pairs(read(results))))
    scenarios = scenario_report.render(trials.read(scenario_results), plots.available(page.parent / "img"))
    page.write_text(replace_between_markers(text, "scenarios", scenarios), encoding="utf-8")


def _line(case: Case, rows: Sequence[Row]) -> Line:
    ratios = [row.ratio for row in rows]
    ours = median(getattr(row.ours, case.metric) for row in rows)
    theirs = median(getattr(row.theirs, case.metric) for row in rows)
    return Line(case, rows[0].peer, len(rows), ours, theirs, median(ratios), min(ratios), max(ratios))


def _figure_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    cells = []
    for case in CASES:
        mine = [row for row in rows if row.case == case.name]
        if mine:
            cells.append((case.title, "cluster", *_medians([row.ours for row in mine])))
            cells.append((case.title, mine[0].peer, *_medians([row.theirs for row in mine])))
    return cells


def _medians(loads: Sequence[Figures]) -> tuple[str, ...]:
    """Cells for the last five of FIGURE_HEADINGS."""
    names = ("requests_per_s", "p50_ms", "p99_ms", "tokens_per_s")
    medians = [number(median(getattr(load, name) for load in loads)) for name in names]
    return (*medians, f"{median(load.client_cpus for load in loads):.2f}")


if __name__ == "__main__":
    try:
        write(PAGE, RESULTS, trials.RESULTS)
    except EmbedError as error:
        sys.exit(f"report: {error.message}")
