"""Rows of the autoscaling simulator in, tables for docs/autoscaling.md out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.autoscaling_traces import TRACES
from benchmarks.autoscaling_trials import FLEETS, WAIT_THAT_COUNTS_S, Outcome, Row
from benchmarks.rows import ROOT
from benchmarks.tables import markdown, number, replace_between_markers, where

PAGE = ROOT / "docs" / "autoscaling.md"
HEADINGS = (
    "trace",
    "fleet",
    "policy",
    "p50 wait, s",
    "p99 wait, s",
    "late",
    "GPU-hours",
    "per hour of work",
    "changes",
)
RATIO_HEADINGS = (
    "trace",
    "fleet",
    "p99 wait",
    "GPU-hours",
    "p99 wait, same budget",
    "GPU-hours, same budget",
    "same budget",
    "Serve's settings, as chosen",
)
HOURS_THAT_COUNT = 1.03
POLICIES: dict[str, Callable[[Row], Outcome]] = {
    "this product's": lambda row: row.ours,
    "Serve's, as documented": lambda row: row.serve,
    "Serve's, tuned": lambda row: row.serve_tuned,
    "this product's, same budget": lambda row: row.ours_same_budget,
}


def render(rows: Sequence[Row]) -> str:
    """Markdown: ratios first, then what each policy reached."""
    groups = grouped(rows)
    seeds = sorted({row.seed for row in rows})
    said = f"{where(rows[0].facts)} Medians over the held-out seeds {', '.join(map(str, seeds))}."
    ratios = markdown(RATIO_HEADINGS, [ratio_cells(group) for group in groups])
    figures = markdown(HEADINGS, [cells for group in groups for cells in figure_cells(group)])
    return "\n\n".join([said, ratios, summary(groups), figures])


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """The seeds of one trace and fleet together, in the order of the traces."""
    groups = [[r for r in rows if (r.trace, r.fleet) == pair] for pair in ((t, f) for t in TRACES for f in FLEETS)]
    return [group for group in groups if group]


def figure_cells(group: Sequence[Row]) -> list[tuple[str, ...]]:
    """What stands under HEADINGS, one line a policy."""
    lines: list[tuple[str, ...]] = []
    for words, of in POLICIES.items():
        found = [of(row) for row in group]
        hours = median(outcome.gpu_hours for outcome in found)
        lines.append(
            (
                *(group[0].trace, str(group[0].fleet), words),
                number(median(outcome.p50_s for outcome in found)),
                number(median(outcome.p99_s for outcome in found)),
                f"{median(outcome.late for outcome in found):.1%}",
                number(hours),
                number(median(outcome.gpu_hours / outcome.work_hours for outcome in found)),
                f"{median(outcome.events for outcome in found):.0f}",
            )
        )
    return lines


def ratio_cells(group: Sequence[Row]) -> tuple[str, ...]:
    """What stands under RATIO_HEADINGS: ours ÷ Serve's tuned."""
    waits = [(row.ours.p99_s, row.serve_tuned.p99_s) for row in group]
    equal_hours = median(row.ours_same_budget.gpu_hours / row.serve_tuned.gpu_hours for row in group)
    equal_waits = [(row.ours_same_budget.p99_s, row.serve_tuned.p99_s) for row in group]
    cells = (wait_ratio(waits), f"{hours_ratio(group):.2f}", wait_ratio(equal_waits), f"{equal_hours:.2f}")
    return (group[0].trace, str(group[0].fleet), *cells, verdict(group), group[0].settings["serve_tuned"])


def hours_ratio(group: Sequence[Row]) -> float:
    """Median of what ours costs as it comes ÷ what Serve's tuned does."""
    return median(row.ours.gpu_hours / row.serve_tuned.gpu_hours for row in group)


def wait_ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """The median of ours ÷ theirs; said in words where one of them did not wait."""
    ours, theirs = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    if max(ours, theirs) < WAIT_THAT_COUNTS_S:
        return "no wait"
    if min(ours, theirs) < WAIT_THAT_COUNTS_S:
        return f"{number(ours)} s : {number(theirs)} s"
    return f"{ours / theirs:.2f}"


def verdict(group: Sequence[Row]) -> str:
    """How the pair with the same budget ended, by its medians."""
    ours = _wait_and_hours([row.ours_same_budget for row in group])
    theirs = _wait_and_hours([row.serve_tuned for row in group])
    is_better, is_worse = _is_better(ours, theirs), _is_better(theirs, ours)
    return "better" if is_better else "worse" if is_worse else "neither"


def _wait_and_hours(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    return median(outcome.p99_s for outcome in outcomes), median(outcome.gpu_hours for outcome in outcomes)


def _is_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """In neither figure worse by what counts, and in one of them better by it."""
    (wait, hours), (other_wait, other_hours) = one, other
    is_no_worse = wait <= other_wait + WAIT_THAT_COUNTS_S and hours <= other_hours * HOURS_THAT_COUNT
    return is_no_worse and (wait < other_wait - WAIT_THAT_COUNTS_S or hours * HOURS_THAT_COUNT < other_hours)


def summary(groups: Sequence[Sequence[Row]]) -> str:
    verdicts = [verdict(group) for group in groups]
    counted = ", ".join(f"{word} in {verdicts.count(word)}" for word in ("better", "worse", "neither"))
    hours = sorted(hours_ratio(group) for group in groups)
    return (
        f"As it comes, this product's policy takes {hours[0]:.2f} to {hours[-1]:.2f} times the GPU-hours of Serve's, "
        f"tuned; the median is {median(hours):.2f}. "
        f"With the same budget, of {len(verdicts)} pairs of trace and fleet: {counted}."
    )


def write(page: Path, rows: Sequence[Row]) -> None:
    """Bring the table of `page` up to date. Raises SetupError if it has no place for it."""
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_between_markers(text, "autoscaling", render(rows)), encoding="utf-8")


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(*RATIO_HEADINGS)
    for group in grouped(rows):
        table.add_row(*ratio_cells(group))
    console.print(table, summary(grouped(rows)))
