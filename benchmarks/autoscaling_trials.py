"""Policies against each other on the same traces: figures of a run, fair settings for both sides, rows of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.autoscaling_backlog import TokenBacklog
from benchmarks.autoscaling_default import ServeDefault, ServeSettings
from benchmarks.autoscaling_sim import Policy, Run, simulate
from benchmarks.autoscaling_traces import COLD_START_S, REPLICA_TOKENS_PER_S, STEP_S, Trace, TraceName, make
from benchmarks.rows import ROOT, Facts, read_lines, rounded
from serve_app.core.autoscale import Bounds

RESULTS = ROOT / "benchmarks" / "results" / "autoscaling.jsonl"
FLEETS = (4, 32, 250, 1000)
TUNING_SEED = 1
HELD_OUT_SEEDS = (101, 102, 103)
TARGET_WAIT_S, DOWNSCALE_AFTER_S, MIN_REPLICAS = 2.0, 300.0, 1
TARGETS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)  # ongoing requests
REACTIONS = ((30.0, 30.0, 10.0), (10.5, 0.0, 1.0))  # look back, delay, push: as documented, and the quickest
FACTORS = ((1.0, 1.0), (0.1, 1.0), (0.3, 0.5), (0.1, 0.5))  # of each difference, up and down
UTILISATIONS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
WAIT_THAT_COUNTS_S = 0.5  # shorter than the simulator's step is none
NEARLY = 1.05  # budgets this close count as the same


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of a trace. Waits are of requests; `work_hours` is the same for every policy on a trace."""

    p50_s: float
    p99_s: float
    late: float  # share of requests that waited longer than the target
    gpu_hours: float
    work_hours: float  # of replicas that would never idle
    events: int  # how often another number of replicas was wanted


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy with its settings; `policy` makes a fresh one."""

    words: str
    policy: Callable[[int], Policy]  # of the size of the fleet


@dataclass(frozen=True, slots=True)
class Row:
    """One held-out seed of one trace: ours and Serve's as they come, and both with settings chosen on another seed.

    `serve_tuned` costs no more than `ours`, if Serve's policy can be had for that at all; `ours_same_budget` costs no
    more than `serve_tuned`.
    """

    facts: Facts
    trace: TraceName
    fleet: int
    seed: int
    ours: Outcome
    serve: Outcome
    serve_tuned: Outcome
    ours_same_budget: Outcome
    settings: dict[str, str]

    def to_json(self) -> str:
        fields = asdict(self)
        return json.dumps(rounded({**fields.pop("facts"), **fields}), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Raises ValueError, KeyError or TypeError for a line that is not a row."""
        fields: dict[str, Any] = json.loads(line)
        facts = Facts(**{name: fields.pop(name) for name in Facts.__dataclass_fields__})
        for name in ("ours", "serve", "serve_tuned", "ours_same_budget"):
            fields[name] = Outcome(**fields[name])
        return cls(facts=facts, **fields)


def ours(utilisation: float | None = None) -> Contender:
    """This product's policy; its own default utilisation unless told."""

    def policy(fleet: int) -> Policy:
        bounds = Bounds(MIN_REPLICAS, fleet, TARGET_WAIT_S, COLD_START_S, DOWNSCALE_AFTER_S)
        if utilisation is not None:
            bounds = Bounds(MIN_REPLICAS, fleet, TARGET_WAIT_S, COLD_START_S, DOWNSCALE_AFTER_S, utilisation)
        return TokenBacklog(bounds)

    return Contender("as it comes" if utilisation is None else f"utilisation {utilisation:g}", policy)


def serve(settings: ServeSettings) -> Contender:
    words = f"target {settings.target_ongoing_requests:g}, look back {settings.look_back_period_s:g} s, "
    words += f"delays {settings.upscale_delay_s:g} and {settings.downscale_delay_s:g} s, "
    words += f"factors {settings.upscaling_factor:g} and {settings.downscaling_factor:g}"
    return Contender(words, lambda fleet: ServeDefault(settings, MIN_REPLICAS, fleet))


OURS = tuple(ours(utilisation) for utilisation in UTILISATIONS)
SERVE = tuple(
    serve(ServeSettings(target, look_back_s, upscale_s, DOWNSCALE_AFTER_S, up, down, push_s))
    for target, (look_back_s, upscale_s, push_s), (up, down) in product(TARGETS, REACTIONS, FACTORS)
)
AS_DOCUMENTED = serve(ServeSettings())


def outcome(run: Run) -> Outcome:
    waits, requests = run.waits(), run.trace.requests
    order = np.argsort(waits)
    below = np.cumsum(requests[order]) / requests.sum()
    p50, p99 = (float(waits[order][np.searchsorted(below, share)]) for share in (0.5, 0.99))
    return Outcome(
        p50_s=p50,
        p99_s=p99,
        late=float(requests[waits > TARGET_WAIT_S].sum() / requests.sum()),
        gpu_hours=float(run.held.sum()) * STEP_S / 3600,
        work_hours=float(run.trace.tokens.sum()) / REPLICA_TOKENS_PER_S / 3600,
        events=int(np.count_nonzero(np.diff(run.wanted))),
    )


def try_on(trace: Trace, contender: Contender, seed: int) -> Outcome:
    return outcome(simulate(trace, contender.policy(trace.fleet), seed))


def tuned(name: TraceName, fleet: int) -> tuple[Contender, Contender]:
    """(Serve's policy at no more than our cost, ours at no more than that of the former), chosen on TUNING_SEED."""
    trace = make(name, fleet, TUNING_SEED)
    budget = try_on(trace, ours(), TUNING_SEED).gpu_hours
    theirs = best_within(budget, [(c, try_on(trace, c, TUNING_SEED)) for c in SERVE])
    cost = try_on(trace, theirs, TUNING_SEED).gpu_hours
    return theirs, best_within(cost, [(c, try_on(trace, c, TUNING_SEED)) for c in OURS])


def best_within(gpu_hours: float, tried: Sequence[tuple[Contender, Outcome]]) -> Contender:
    """The shortest p99 wait within the budget; if none is, within what the cheapest costs, or nearly.

    Of those that make nobody wait, the cheapest.
    """
    cheapest = min(outcome.gpu_hours for _, outcome in tried)
    affordable = [pair for pair in tried if pair[1].gpu_hours <= max(gpu_hours, cheapest * NEARLY)]
    return min(affordable, key=lambda pair: (max(pair[1].p99_s, WAIT_THAT_COUNTS_S), pair[1].gpu_hours))[0]


def compare(facts: Facts, name: TraceName, fleet: int, seeds: Sequence[int]) -> list[Row]:
    theirs, same_budget = tuned(name, fleet)
    settings = {"serve_tuned": theirs.words, "ours_same_budget": same_budget.words}
    rows = []
    for seed in seeds:
        trace = make(name, fleet, seed)
        rows.append(
            Row(
                *(facts, name, fleet, seed),
                ours=try_on(trace, ours(), seed),
                serve=try_on(trace, AS_DOCUMENTED, seed),
                serve_tuned=try_on(trace, theirs, seed),
                ours_same_budget=try_on(trace, same_budget, seed),
                settings=settings,
            )
        )
    return rows


def read(path: Path) -> list[Row]:
    """The rows of the newest run; none if there is no file."""
    found = [Row.from_json(line) for line in read_lines(path)]
    newest = max((row.facts.run for row in found), default="")
    return [row for row in found if row.facts.run == newest]
