"""Pictures from rows: throughput and MFU by length, and latency beside a flood. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu.bars import best_figure, best_mfu, latest
from benchmarks.gpu.cases import LENGTHS, Kind, Precision
from benchmarks.gpu.rows import GpuRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (7.0, 3.2)
LINES: tuple[tuple[str, Kind, Precision, str], ...] = (
    ("bare engine, bf16", "engine", "bf16", "#2a7fb8"),
    ("bare engine, fp8", "engine", "fp8", "#7fb82a"),
    ("HTTP, bf16", "product", "bf16", "#d1603d"),
    ("vLLM's API server, bf16", "peer", "bf16", "#7a7a7a"),
)
Best = Callable[[Sequence[GpuRow], str, Kind, str, Precision], float | None]


def draw(rows: Sequence[GpuRow], directory: Path) -> list[Path]:
    """The pictures that there are rows for, of each model; the same rows give the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for model in dict.fromkeys(row.model for row in rows):
        name = model.lower()
        for figure, path in (
            (_by_length(rows, model, best_figure, "tokens/s", log=True), directory / f"gpu-throughput-{name}.svg"),
            (_by_length(rows, model, best_mfu, "MFU", log=False), directory / f"gpu-mfu-{name}.svg"),
            (_flood(rows, model), directory / f"gpu-flood-{name}.svg"),
        ):
            if figure is not None:
                _save(figure, path)
                drawn.append(path)
    return drawn


def _by_length(rows: Sequence[GpuRow], model: str, best: Best, label: str, *, log: bool) -> Figure | None:
    """Of every line the best case at each length; None if there is no point to show."""
    figure, axes = _axes()
    for name, kind, precision, colour in LINES:
        values = {length: best(rows, model, kind, f"ids-{length}", precision) for length in sorted(LENGTHS)}
        points = {length: value for length, value in values.items() if value is not None}
        if points:
            axes.plot(list(points), list(points.values()), "o-", color=colour, label=name)
    if not axes.lines:
        return None
    axes.set(xscale="log", xlabel="tokens of a text", ylabel=f"{label}, {model}")
    axes.set_xticks(sorted(LENGTHS), [str(length) for length in sorted(LENGTHS)], minor=False)
    axes.set_xticks([], minor=True)
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    return _finished(figure, axes)


def _flood(rows: Sequence[GpuRow], model: str) -> Figure | None:
    mine = [row for row in latest(rows) if row.model == model and row.load == "flood"]
    if not mine:
        return None
    figure, axes = _axes()
    series = mine[-1].measured.series
    for clients, style in ((1, "-"), (4, "--")):
        for kind, colour, words in (("alone", "#2a7fb8", "alone"), ("flood", "#d1603d", "beside the flood")):
            label = f"{clients} client{'s' if clients > 1 else ''}, {words}"
            axes.plot(series[f"{kind}_{clients}"], series["percentiles"], style, color=colour, label=label)
    axes.set(xscale="log", xlabel=f"latency of one short text, ms, {model}", ylabel="percentile of requests")
    return _finished(figure, axes)


def _axes() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    return figure, figure.subplots()


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "embed-cluster"}):
        figure.savefig(path, metadata={"Date": None})
