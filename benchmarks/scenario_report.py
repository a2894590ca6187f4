"""Trials in, tables out: the newest complete run of each scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.scenarios import CHECKS, MIN_TRIALS, TITLES, Check, Scenario
from benchmarks.tables import markdown, number, where
from benchmarks.trials import Trial

HEADINGS = ("figure", "unit", "median", "least – most", "bar", "beyond", "verdict")
NOT_MEASURED = "Not measured yet."


@dataclass(frozen=True, slots=True)
class Finding:
    """One check over the trials of one run."""

    check: Check
    median: float
    low: float
    high: float

    def cells(self) -> tuple[str, ...]:
        """What stands under HEADINGS."""
        sign = "≤" if self.check.is_lower_better else "≥"
        limits = (f"{sign} {limit:g}" if limit is not None else "" for limit in (self.check.bar, self.check.goal))
        spread = f"{number(self.low)} – {number(self.high)}"
        verdict = self.check.verdict(self.median)
        return (self.check.title, self.check.unit, number(self.median), spread, *limits, verdict)


def latest_trials(trials: Sequence[Trial], scenario: Scenario) -> list[Trial]:
    """The trials of the newest run of a scenario that has enough of them; none if there is no such run."""
    mine = [trial for trial in trials if trial.scenario == scenario]
    for run in sorted({trial.facts.run for trial in mine}, reverse=True):
        found = [trial for trial in mine if trial.facts.run == run]
        if len(found) >= MIN_TRIALS[scenario]:
            return found
    return []


def findings(trials: Sequence[Trial]) -> list[Finding]:
    """One for each check that all the trials, of one run, have a figure for; in the order of the checks."""
    found = []
    for check in CHECKS:
        mine = [trial.outcome.figures for trial in trials if trial.scenario == check.scenario]
        values = [figures[check.figure] for figures in mine if check.figure in figures]
        if mine and len(values) == len(mine):
            found.append(Finding(check, median(values), min(values), max(values)))
    return found


def render(trials: Sequence[Trial], plots: dict[Scenario, str]) -> str:
    """Markdown with a section a scenario. `plots` names the picture of a scenario, relative to the page."""
    return "\n\n".join(_section(scenario, latest_trials(trials, scenario), plots) for scenario in TITLES)


def _section(scenario: Scenario, trials: Sequence[Trial], plots: dict[Scenario, str]) -> str:
    title = f"### {TITLES[scenario]}"
    if not trials:
        return f"{title}\n{NOT_MEASURED}"
    settings = ", ".join(f"{name} {value:g}" for name, value in trials[0].settings.items())
    table = markdown(HEADINGS, [finding.cells() for finding in findings(trials)])
    picture = [f"![{TITLES[scenario]}]({plots[scenario]})"] if scenario in plots else []
    count = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}; {settings}."
    return "\n\n".join([f"{title}\n{where(trials[0].facts)} {count}", table, *picture])
