"""The dashboard's panels drawn from a running Prometheus, for the documentation; Grafana itself is not needed.

`python -m benchmarks.dashboard_picture --prometheus http://127.0.0.1:9090` beside `embedctl monitor` and some load
draws the titles, units and series that Grafana would show, by matplotlib, into docs/img/dashboard.svg.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from benchmarks.rows import ROOT
from cluster.monitoring.panel import Panel, Query, Unit
from cluster.monitoring.panels import ROWS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PICTURE = ROOT / "docs" / "img" / "dashboard.svg"
ACROSS, PANEL_INCHES = 3, (4.6, 2.3)
STEP_S = 5
UNITS: Mapping[Unit, str] = {
    "reqps": "requests/s", "s": "s", "percentunit": "part of 1", "bytes": "bytes", "short": "", "percent": "%",
    "dtdurations": "s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A Prometheus, and the stretch of time to draw: `minutes` up to `now` (Unix time)."""

    url: str
    minutes: float
    now: float


@dataclass(frozen=True, slots=True)
class Series:
    legend: str
    minutes: list[float]  # before now, as negative numbers
    values: list[float]


def series_of(query: Query, source: Source) -> list[Series]:
    """What Grafana would draw for the query."""
    start = source.now - 60 * source.minutes
    asked = {"query": query.filled_in(), "start": str(start), "end": str(source.now), "step": str(STEP_S)}
    answer = httpx.get(f"{source.url}/api/v1/query_range", params=asked, timeout=30)
    answer.raise_for_status()
    return [
        Series(
            _legend(query.legend, found["metric"]),
            [(float(when) - source.now) / 60 for when, _ in found["values"]],
            [float(value) for _, value in found["values"]],
        )
        for found in answer.json()["data"]["result"]
    ]


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), pattern)


def draw(source: Source) -> Figure:
    from matplotlib.figure import Figure

    lines = [-(-len(row.panels) // ACROSS) for row in ROWS]
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * ACROSS, height * sum(lines) + 0.4 * len(ROWS)), layout="constrained")
    parts: np.ndarray[Any, Any] = np.asarray(figure.subfigures(len(ROWS), 1, height_ratios=lines))
    for part, row, count in zip(parts, ROWS, lines, strict=True):
        part.suptitle(row.title, x=0.01, ha="left", weight="bold", fontsize=10)
        _draw_row(part, row.panels, count, source)
    return figure


def _draw_row(part: SubFigure, panels: Sequence[Panel], lines: int, source: Source) -> None:
    grid = list(part.subplots(lines, ACROSS, squeeze=False).flat)
    for unused in grid[len(panels) :]:
        unused.set_axis_off()
    for axes, panel in zip(grid, panels, strict=False):
        drawn = [series for query in panel.queries for series in series_of(query, source)]
        _draw_panel(axes, panel, drawn)
        axes.set_xlim(-source.minutes, 0)


def _draw_panel(axes: Axes, panel: Panel, drawn: Sequence[Series]) -> None:
    for series in drawn:
        axes.plot(series.minutes, series.values, linewidth=1, label=series.legend)
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_ylabel(UNITS[panel.unit], fontsize=7)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend(fontsize=6, frameon=False, loc="best")
    else:
        axes.text(0.5, 0.5, f"no data: {panel.empty_while}", transform=axes.transAxes, ha="center", fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "embed-cluster", "svg.fonttype": "none"}):
        figure = draw(Source(options.prometheus, options.minutes, time.time()))
        figure.savefig(options.out, metadata={"Date": None})
    print(f"drew {options.out}")


if __name__ == "__main__":
    main()
