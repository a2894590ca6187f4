"""Pictures of the autoscaling simulator: replicas and waits over time, and what a wait costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.autoscaling_sim import Run, simulate
from benchmarks.autoscaling_traces import REPLICA_TOKENS_PER_S, STEP_S, TRACES, TraceName, make
from benchmarks.autoscaling_trials import HELD_OUT_SEEDS, OURS, SERVE, Contender, Outcome, ours, try_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLEET = 32
SIZE_INCHES = (7.0, 4.6)
OURS_COLOUR, SERVE_COLOUR, LOAD_COLOUR = "#2a7fb8", "#d1603d", "#7a7a7a"
SHOWN_EVERY = 10  # steps: more points than a page has dots make large files


def draw(directory: Path, trace: TraceName, serve_words: str) -> Path:
    """Ours as it comes beside Serve's policy with the settings of those words, on a held-out seed."""
    seed = HELD_OUT_SEEDS[0]
    made = make(trace, FLEET, seed)
    theirs = next(contender for contender in SERVE if contender.words == serve_words)
    path = directory / f"autoscaling-{trace}.svg"
    runs = [simulate(made, contender.policy(FLEET), seed) for contender in (ours(), theirs)]
    _save(_over_time(runs, serve_words), path)
    return path


def draw_costs(directory: Path) -> Path:
    """Every setting of both policies that was tried, as a point of cost and wait."""
    figure = _figure((7.0, 2.6 * 2))
    for axes, trace in zip(figure.subplots(2, 3).flat, TRACES, strict=False):
        _costs(axes, trace)
    figure.axes[-1].set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.axes[-1].legend(handles, labels, frameon=False, fontsize=8, loc="center")
    path = directory / "autoscaling-costs.svg"
    _save(figure, path)
    return path


def _over_time(runs: list[Run], serve_words: str) -> Figure:
    figure = _figure(SIZE_INCHES)
    above, below = figure.subplots(2, sharex=True)
    trace = runs[0].trace
    minutes = np.arange(trace.steps)[::SHOWN_EVERY] * STEP_S / 60
    busy = np.convolve(trace.tokens, np.full(20, 1 / 20), "same") / STEP_S / REPLICA_TOKENS_PER_S
    above.fill_between(minutes, busy[::SHOWN_EVERY], color=LOAD_COLOUR, alpha=0.3, lw=0, label="work, in busy replicas")
    labels = ("this product's policy", f"Serve's: {serve_words}")
    for run, colour, label in zip(runs, (OURS_COLOUR, SERVE_COLOUR), labels, strict=True):
        above.plot(minutes, run.running[::SHOWN_EVERY], color=colour, label=f"running, {label}")
        below.plot(minutes, run.waits()[::SHOWN_EVERY], color=colour)
    above.set(ylabel="replicas", ylim=(0, trace.fleet * 1.6))
    below.set(xlabel="minutes", ylabel="wait of what arrives, s")
    below.set_ylim(bottom=0)
    above.legend(frameon=False, fontsize=8, loc="upper left")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure


def _costs(axes: Axes, trace: TraceName) -> None:
    seed = HELD_OUT_SEEDS[0]
    made = make(trace, FLEET, seed)
    sides: tuple[tuple[tuple[Contender, ...], str, str], ...] = (
        (SERVE, SERVE_COLOUR, "Serve's policy, each setting"),
        (OURS, OURS_COLOUR, "this product's, each utilisation"),
    )
    for contenders, colour, label in sides:
        found: list[Outcome] = [try_on(made, contender, seed) for contender in contenders]
        hours, waits = [o.gpu_hours / o.work_hours for o in found], [o.p99_s for o in found]
        axes.plot(hours, waits, "o", ms=4, alpha=0.7, color=colour, label=label)
    axes.set_title(trace, fontsize=9)
    axes.set_xlabel("GPU-hours per hour of work", fontsize=7)
    axes.set_ylabel("p99 wait, s", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    """The same runs give the same bytes."""
    from matplotlib import rc_context

    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "embed-cluster"}):
        figure.savefig(path, metadata={"Date": None})
