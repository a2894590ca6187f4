"""Rows of benchmarks/results/gpu.jsonl: one load of one case. What a page needs to judge them is computed from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import rows
from benchmarks.gpu.cases import Case
from benchmarks.rows import ROOT, Facts

RESULTS = ROOT / "benchmarks" / "results" / "gpu.jsonl"
BF16 = "bf16_flops"  # per second, a figure of the ceilings


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load gave. `series` holds what a plot shows; `ready_s` is how long engine or server took to start."""

    load: str
    figures: dict[str, float]
    series: dict[str, list[float]] = field(default_factory=dict)
    ready_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GpuRow:
    """`model` is 0.6B, 4B, 8B, tiny or a directory's name; `settings` are the case's and the scale's."""

    facts: Facts
    date: str
    device: str
    model: str
    case: str
    settings: dict[str, Any]
    measured: Measured

    @property
    def load(self) -> str:
        return self.measured.load

    @property
    def figures(self) -> dict[str, float]:
        return self.measured.figures

    def to_json(self) -> str:
        fields = asdict(self)
        fields = {**fields.pop("facts"), **fields, **fields.pop("measured")}
        del fields["measured"]
        fields["start_s"] = self.measured.ready_s  # the facts have a `ready_s` of their own
        fields["ready_s"] = self.facts.ready_s
        return json.dumps(rows.rounded(fields), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> GpuRow:
        """Raises ValueError, KeyError or TypeError for a line that is not a row."""
        fields: dict[str, Any] = json.loads(line)
        facts = Facts(**{name: fields.pop(name) for name in Facts.__dataclass_fields__})
        load, figures, series = (fields.pop(name) for name in ("load", "figures", "series"))
        measured = Measured(load, figures, series, fields.pop("start_s"))
        return cls(facts=facts, measured=measured, **fields)


def read(path: Path) -> list[GpuRow]:
    """All rows, oldest first; none if there is no file."""
    return [GpuRow.from_json(line) for line in rows.read_lines(path)]


def missing_loads(case: Case, found: Sequence[GpuRow], like: GpuRow) -> tuple[str, ...]:
    """The loads of the case without a row of the same commit, device, model and settings as `like`."""
    done = {row.load for row in found if _key(row) == _key(like)}
    return tuple(load for load in case.loads if load not in done)


def mfu(row: GpuRow, found: Sequence[GpuRow]) -> float | None:
    """Achieved operations a second ÷ the rate of bf16 products measured in the same run; None where one is missing."""
    ceilings = [one.figures[BF16] for one in found if one.facts.run == row.facts.run and BF16 in one.figures]
    achieved = row.figures.get("flops_per_s")
    return achieved / ceilings[-1] if ceilings and achieved is not None else None


def _key(row: GpuRow) -> tuple[str, str, str, str, str]:
    settings = json.dumps(rows.rounded(row.settings), sort_keys=True)
    return row.facts.commit, row.device, row.model, row.case, settings
