"""Pictures from rows: `python -m benchmarks.plots` draws them into docs/img. Only this needs matplotlib."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.rows import ROOT
from benchmarks.scenario_report import latest_trials
from benchmarks.scenarios import Scenario
from benchmarks.trials import RESULTS, Trial, read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = ROOT / "docs" / "img"
SIZE_INCHES = (7.0, 3.2)
ALONE, FLOOD, EMBEDDER = "#2a7fb8", "#d1603d", "#7a7a7a"


def draw(trials: Sequence[Trial], directory: Path) -> list[Path]:
    """The pictures of the scenarios that have trials."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for scenario, plot in _PLOTS.items():
        mine = latest_trials(trials, scenario)
        if mine:
            path = directory / f"{scenario}.svg"
            _save(plot(mine), path)
            drawn.append(path)
    return drawn


def available(directory: Path) -> dict[Scenario, str]:
    """The pictures there are, as a page in the folder above names them."""
    return {name: f"{directory.name}/{name}.svg" for name in _PLOTS if (directory / f"{name}.svg").exists()}


def _isolation(trials: Sequence[Trial]) -> Figure:
    """Of each percentile the median over the trials."""
    figure = _figure()
    axes = figure.subplots()
    for clients, style in ((1, "-"), (4, "--")):
        for kind, colour, words in (("alone", ALONE, "alone"), ("flood", FLOOD, "beside the bulk flood")):
            latencies = np.median([trial.outcome.series[f"{kind}_{clients}"] for trial in trials], axis=0)
            label = f"{clients} client{'s' if clients > 1 else ''}, {words}"
            axes.plot(latencies, trials[0].outcome.series["percentiles"], style, color=colour, label=label)
    axes.set(xscale="log", xlabel="latency of one short text, ms", ylabel="percentile of requests", ylim=(0, 101))
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _soak(trials: Sequence[Trial]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    series = trials[0].outcome.series
    minutes = np.array(series["seconds"]) / 60
    for name, colour in (("router", ALONE), ("embedder", EMBEDDER)):
        axes.plot(minutes, series[name], color=colour, label=name.capitalize())
    axes.set(xlabel="minutes of load", ylabel="resident memory, MiB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure


_PLOTS: dict[Scenario, Callable[[Sequence[Trial]], Figure]] = {"isolation": _isolation, "soak": _soak}


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=SIZE_INCHES, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    """The same rows give the same bytes."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "embed-cluster"}):
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    if find_spec("matplotlib") is None:
        sys.exit("plots: matplotlib is not installed, so the pictures stay as they are: pip install matplotlib")
    for picture in draw(read(RESULTS), IMAGES):
        print(picture)
