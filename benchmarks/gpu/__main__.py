"""`python -m benchmarks.gpu`: what one GPU gives, case by case, most telling first.

Rows are appended as loads end, and what has a row of this commit, device, model and settings is left out, so a run
that was broken off goes on where it was. Without a GPU it measures the CPU, which shows whether everything runs:
`python -m benchmarks.gpu --model tiny --quick`.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.gpu import report
from benchmarks.gpu.cases import QUICK, Scale, choose, quick
from benchmarks.gpu.rows import RESULTS
from benchmarks.gpu.run import Plan, build_model, listing, run
from benchmarks.launch import CACHE
from serve_app.core.errors import EmbedError

QUICK_RESULTS = CACHE / "gpu-quick.jsonl"
console = Console()


def main(  # noqa: PLR0913, PLR0917  # a command's options are its parameters
    cases: Annotated[
        str, typer.Option(help="Names separated by commas, as `--list` shows; `engine*` is several.")
    ] = "",
    loads: Annotated[str, typer.Option(help="Only these loads of the cases, for example `ids-*,flood`.")] = "",
    model: Annotated[
        str, typer.Option(help="0.6B, 4B or 8B with random weights, tiny, or a checkpoint's path.")
    ] = "4B",
    out: Annotated[Path | None, typer.Option(help="File of rows; default: benchmarks/results/gpu.jsonl.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of one load.")] = Scale().seconds,
    case_limit: Annotated[float, typer.Option(min=30, help="Longest time of a case in seconds.")] = 540.0,
    is_quick: Annotated[bool, typer.Option("--quick", help="One small case of each kind: does it run at all?")] = False,
    is_dummy: Annotated[
        bool, typer.Option("--dummy", help="No checkpoint: vLLM draws weights (engine, bf16).")
    ] = False,
    commit: Annotated[str, typer.Option(help="What rows call the commit, where git is not at hand.")] = "",
    only_list: Annotated[bool, typer.Option("--list", help="Show the cases and their loads.")] = False,
    only_report: Annotated[bool, typer.Option("--report", help="Rewrite docs/gpu.md and its pictures.")] = False,
) -> None:
    """Measure the bare engine, the product and vLLM's API server on one GPU, against its own plain products."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        chosen = choose(_names(cases), _names(loads))
        chosen, scale = (quick(chosen), QUICK) if is_quick else (chosen, replace(Scale(), seconds=seconds))
        if only_list:
            _say(listing(chosen))
        elif only_report:
            report.write(report.PAGE, RESULTS)
        else:
            file = out or (QUICK_RESULTS if is_quick else RESULTS)
            failures = run(Plan(chosen, scale, file, case_limit, commit), build_model(model, is_dummy=is_dummy), _say)
            _say(report.text_of(file))
            sys.exit(1 if failures else 0)
    except EmbedError as error:
        _say(f"benchmark: {error.message}")
        sys.exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(main)
