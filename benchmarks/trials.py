"""Trials of scenarios: what one found, its rows in a file, and the loop that runs and writes them."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from benchmarks import rows
from benchmarks.contestants import Server
from benchmarks.rows import ROOT, Facts
from benchmarks.scenarios import Scenario
from serve_app.core.errors import EmbedError

RESULTS = ROOT / "benchmarks" / "results" / "scenarios.jsonl"
console = Console()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one trial found. `series` holds what a plot shows, all of one group equally long."""

    figures: dict[str, float]
    series: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One row: an outcome and what it was measured with."""

    facts: Facts
    date: str
    scenario: Scenario
    trial: int
    settings: dict[str, float]
    outcome: Outcome

    def to_json(self) -> str:
        fields = asdict(self)
        fields = {**fields.pop("facts"), **fields, **fields.pop("outcome")}
        del fields["outcome"]
        return json.dumps(rows.rounded(fields), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Trial:
        """Raises ValueError, KeyError or TypeError for a line that is not a trial."""
        fields: dict[str, Any] = json.loads(line)
        facts = Facts(**{name: fields.pop(name) for name in Facts.__dataclass_fields__})
        return cls(facts=facts, outcome=Outcome(fields.pop("figures"), fields.pop("series")), **fields)


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario to run. `settings` are what a reader must know to run it again; a try is not `is_kept` as rows."""

    scenario: Scenario
    trials: int
    settings: dict[str, float]
    resume: bool
    is_kept: bool = True


def read(path: Path) -> list[Trial]:
    """All trials, oldest first; none if there is no file."""
    return [Trial.from_json(line) for line in rows.read_lines(path)]


def is_measured(found: Sequence[Trial], plan: Plan, commit: str) -> bool:
    """Whether some run of this commit has all trials of the plan, with the same settings."""
    mine = (trial for trial in found if trial.scenario == plan.scenario and trial.settings == plan.settings)
    runs = Counter(trial.facts.run for trial in mine if trial.facts.commit == commit)
    return any(number >= plan.trials for number in runs.values())


def run(
    plan: Plan, start: Callable[[ExitStack], Server], measure: Callable[[Server], Callable[[int], Outcome]]
) -> None:
    """Start a cluster, measure every trial and append its row at once; ends the process with 1 for an EmbedError.

    `measure` prepares what all trials share and returns what measures one, given its number from 1 on.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if plan.resume and is_measured(read(RESULTS), plan, rows.gather_facts({}).commit):
            console.print(f"{plan.scenario}: this commit has its rows already")
            return
        for trial in _trials(plan, start, measure):
            if plan.is_kept:
                rows.append(RESULTS, trial)
            figures = ", ".join(f"{name} {value:.4g}" for name, value in trial.outcome.figures.items())
            console.print(f"{plan.scenario} {trial.trial} of {plan.trials}: {figures}", highlight=False)
    except EmbedError as error:
        console.print(f"[red]benchmark:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)


def _trials(
    plan: Plan, start: Callable[[ExitStack], Server], measure: Callable[[Server], Callable[[int], Outcome]]
) -> Iterator[Trial]:
    with ExitStack() as stack:
        console.print(f"{plan.scenario}: starting the cluster")
        server = start(stack)
        facts = rows.gather_facts({server.label: server.ready_s})
        one = measure(server)
        for number in range(1, plan.trials + 1):
            yield Trial(facts, rows.now(), plan.scenario, number, plan.settings, one(number))
