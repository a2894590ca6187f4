"""What is measured, and the bar each figure is judged by. Pure data: it knows no server and no client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.core.errors import SetupError

Metric = Literal["requests_per_s", "p50_ms", "tokens_per_s"]  # fields of rows.Figures


@dataclass(frozen=True, slots=True)
class Case:
    """One load. `bar` and `goal` bound the ratio ours ÷ peer; None means the ratio is shown for information."""

    name: str
    title: str
    texts: int  # in one request
    connections: int
    metric: Metric
    against: Literal["server", "engine"]
    bar: float | None = None
    goal: float | None = None

    @property
    def is_lower_better(self) -> bool:
        return self.metric == "p50_ms"

    def reaches(self, ratio: float, limit: float) -> bool:
        return ratio <= limit if self.is_lower_better else ratio >= limit


CASES = (
    Case("short-1", "one short text, 1 connection", 1, 1, "p50_ms", "server", bar=1.4, goal=1.1),
    Case("short-16", "one short text, 16 connections", 1, 16, "requests_per_s", "server", bar=1.0, goal=1.5),
    Case("short-64", "one short text, 64 connections", 1, 64, "requests_per_s", "server", bar=1.7, goal=2.5),
    Case("bulk", "256 texts a request, 2 connections", 256, 2, "tokens_per_s", "server", bar=1.3),
    Case("short-engine", "one short text, 1 connection", 1, 1, "p50_ms", "engine"),
    Case("bulk-engine", "256 texts a request, 2 connections", 256, 2, "tokens_per_s", "engine", goal=0.95),
)


def choose(names: Sequence[str]) -> tuple[Case, ...]:
    """The named cases in their usual order; no names means all. Raises SetupError for a name there is not."""
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SetupError(f"There is no case {unknown[0]}; cases: {', '.join(known)}.")
    return tuple(case for case in CASES if not names or case.name in names)
