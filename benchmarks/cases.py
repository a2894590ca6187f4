"""What is measured, and the bar each figure is judged by. Pure data: it knows no server and no client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from serve_app.core.errors import SetupError

Opponent = Literal["server", "engine", "ray_serve_llm", "infinity"]
PEERS: tuple[Opponent, ...] = ("ray_serve_llm", "infinity")  # measured only when asked for
Metric = Literal["requests_per_s", "p50_ms", "tokens_per_s"]  # fields of rows.Figures


@dataclass(frozen=True, slots=True)
class Case:
    """One load. `bar` and `goal` bound the ratio ours ÷ peer; None means the ratio is shown for information."""

    name: str
    title: str
    texts: int  # in one request
    connections: int
    metric: Metric
    against: Opponent
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
    Case("short-1-llm", "one short text, 1 connection", 1, 1, "requests_per_s", "ray_serve_llm", bar=4.0, goal=6.0),
    Case("short-16-llm", "one short text, 16 connections", 1, 16, "requests_per_s", "ray_serve_llm", bar=4.0, goal=6.0),
    Case("short-64-llm", "one short text, 64 connections", 1, 64, "requests_per_s", "ray_serve_llm", bar=4.0, goal=6.0),
    Case("bulk-llm", "256 texts a request, 2 connections", 256, 2, "tokens_per_s", "ray_serve_llm"),
    Case("short-1-infinity", "one short text, 1 connection", 1, 1, "requests_per_s", "infinity"),
    Case("short-16-infinity", "one short text, 16 connections", 1, 16, "requests_per_s", "infinity"),
    Case("short-64-infinity", "one short text, 64 connections", 1, 64, "requests_per_s", "infinity"),
    Case("bulk-infinity", "256 texts a request, 2 connections", 256, 2, "tokens_per_s", "infinity"),
)


def choose(names: Sequence[str], with_peers: bool = False) -> tuple[Case, ...]:
    """The named cases in their usual order; no names means all, those against PEERS only `with_peers`.

    Raises SetupError for a name there is not.
    """
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SetupError(f"There is no case {unknown[0]}; cases: {', '.join(known)}.")
    if names:
        return tuple(case for case in CASES if case.name in names)
    return tuple(case for case in CASES if with_peers or case.against not in PEERS)
