"""Rows in, docs/gpu.md out: verdicts, what the device gives, and a table of every load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.bars import BARS, latest
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.rows import GpuRow, mfu, read
from benchmarks.rows import ROOT
from benchmarks.tables import markdown, number, replace_between_markers, where

PAGE = ROOT / "docs" / "gpu.md"
NO_ROWS = "No rows yet: not run on a GPU."
BAR_HEADINGS = ("figure", "bar", "measured", "verdict")
HEADINGS = ("case", "load", "tokens/s", "requests/s", "MFU", "p50, ms", "p99, ms", "tokens a step", "in steps", "state")
TERA = 1e12


def write(page: Path, results: Path) -> None:
    """Bring the page's marked part, and the pictures where matplotlib is installed, up to date with the rows."""
    found = read(results)
    pictures: list[str] = []
    if found and find_spec("matplotlib") is not None:
        from benchmarks.gpu import plots

        pictures = [f"img/{path.name}" for path in plots.draw(found, page.parent / "img")]
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_between_markers(text, "gpu", render(found, pictures)), encoding="utf-8")


def text_of(results: Path) -> str:
    """The same tables for a terminal."""
    return render(read(results), [])


def render(found: Sequence[GpuRow], pictures: Sequence[str]) -> str:
    """Markdown: verdicts first, then one section for each model and device."""
    if not found:
        return NO_ROWS
    parts = [markdown(BAR_HEADINGS, list(_verdicts(found))), *(f"![{Path(p).stem}]({p})" for p in pictures)]
    for model, device in dict.fromkeys((row.model, row.device) for row in found):
        mine = [row for row in found if (row.model, row.device) == (model, device)]
        parts.append(f"### {model} on {device}\n{where(mine[-1].facts)}")
        parts += [_ceilings(mine), markdown(HEADINGS, [_cells(row, found) for row in _in_order(mine)])]
    return "\n\n".join(parts)


def _verdicts(found: Sequence[GpuRow]) -> Iterator[tuple[str, ...]]:
    for bar in BARS:
        value = bar.value(found)
        sign = "≤" if bar.is_lower_better else "≥"
        measured = "" if value is None else f"{value:,.0f}" if bar.limit >= 100 else f"{value:.3f}"
        yield bar.title, f"{sign} {bar.limit:g}", measured, bar.verdict(value)


def _ceilings(found: Sequence[GpuRow]) -> str:
    row = next((row for row in reversed(found) if row.load == "ceilings"), None)
    if row is None:
        return "What the device gives to plain products was not measured."
    rates = [
        f"{name.removesuffix('_flops')} {number(value / TERA)} TFLOP/s"
        for name, value in row.figures.items()
        if name.endswith("_flops")
    ]
    return f"Plain products on random data: {', '.join(rates)}; copies {number(row.figures['copy_bytes'] / TERA)} TB/s."


def _in_order(found: Sequence[GpuRow]) -> list[GpuRow]:
    names = [case.name for case in CASES]
    loads = {case.name: case.loads for case in CASES}

    def place(row: GpuRow) -> tuple[int, int]:
        if row.case not in loads or row.load not in loads[row.case]:
            return len(names), 0
        return names.index(row.case), loads[row.case].index(row.load)

    return sorted((row for row in latest(found) if row.load not in ("ceilings", "flood", "vectors")), key=place)


def _cells(row: GpuRow, found: Sequence[GpuRow]) -> tuple[str, ...]:
    share = mfu(row, found)
    names = ("tokens_per_s", "requests_per_s", "p50_ms", "p99_ms", "tokens_per_step")
    tokens, requests, p50, p99, step = (number(row.figures[name]) if name in row.figures else "" for name in names)
    in_steps = f"{row.figures['in_step_share']:.0%}" if "in_step_share" in row.figures else ""
    return (
        row.case,
        row.load,
        tokens,
        requests,
        f"{share:.1%}" if share else "",
        p50,
        p99,
        step,
        in_steps,
        _state(row),
    )


def _state(row: GpuRow) -> str:
    """What helps to see what limited it."""
    units = {"client_cpus": "client CPUs", "gpu_busy_percent": "% GPU busy", "sm_mhz": "MHz", "power_w": "W"}
    return ", ".join(f"{number(row.figures[name])} {unit}" for name, unit in units.items() if name in row.figures)
