"""An evaluation as a table, as files, and as a picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ingest.evaluate.metrics import Interval
from ingest.evaluate.run import RANK_CUTOFF, Evaluation, Scores
from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = "dense: exact search; index, bm25, hybrid: the store's own. Below the means: 95 % bootstrap intervals."
LINE_STYLES = {"index": ":", "bm25": "--", "hybrid": "-."}


def show(console: Console, evaluation: Evaluation) -> None:
    kind = "known items from headings" if evaluation.is_known_item else "questions"
    title = f"{evaluation.collection}: {len(evaluation.questions)} {kind}, {evaluation.chunks:,} chunks"
    table = Table("search", "dims", *_measures(evaluation), title=escape(title), caption=CAPTION)
    for scores in evaluation.scores:
        table.add_row(
            scores.mode,
            str(scores.dimensions or ""),
            *(_cell(interval) for interval in _intervals(scores)),
        )
    console.print(table)
    if evaluation.unmatched_answers:
        console.print(f"{evaluation.unmatched_answers} answers name a place of which nothing is stored: not found.")
    for reason in evaluation.left_out:
        console.print(f"Left out: {escape(reason)}", soft_wrap=True)


def _measures(evaluation: Evaluation) -> list[str]:
    cutoffs = evaluation.scores[0].recall if evaluation.scores else ()
    return [*(f"recall@{cutoff}" for cutoff in cutoffs), f"MRR@{RANK_CUTOFF}", f"nDCG@{RANK_CUTOFF}"]


def _intervals(scores: Scores) -> list[Interval]:
    return [*scores.recall.values(), scores.mrr, scores.ndcg]


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.3f}\n[dim]{interval.low:.2f}–{interval.high:.2f}[/dim]"


def save(folder: Path, evaluation: Evaluation) -> list[Path]:
    """evaluation.json, questions.jsonl (fit for --questions) and evaluation.png. Raises SetupError."""
    rows, questions, picture = (folder / name for name in ("evaluation.json", "questions.jsonl", "evaluation.png"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows.write_text(json.dumps(content(evaluation), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        lines = [question.model_dump_json(exclude_none=True) + "\n" for question in evaluation.questions]
        questions.write_text("".join(lines), encoding="utf-8")
        plot(evaluation, picture)
    except OSError as error:
        raise SetupError(f"The evaluation cannot be written to {folder}: {error.strerror}.") from error
    return [rows, questions, picture]


def content(evaluation: Evaluation) -> dict[str, object]:
    """Everything but the questions themselves."""
    return {
        "collection": evaluation.collection,
        "model": evaluation.model,
        "chunks": evaluation.chunks,
        "questions": len(evaluation.questions),
        "known_item": evaluation.is_known_item,
        "unmatched_answers": evaluation.unmatched_answers,
        "seed": evaluation.seed,
        "rank_cutoff": RANK_CUTOFF,
        "scores": [asdict(scores) for scores in evaluation.scores],
        "left_out": list(evaluation.left_out),
    }


def plot(evaluation: Evaluation, path: Path) -> None:
    """Each measure by dimension, with its interval; what has one width only is a line across."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SetupError("The picture needs matplotlib: pip install 'embed-cluster[eval]'.") from error
    measures = _measures(evaluation)
    figure = Figure(figsize=(3.2 * len(measures), 3.4), layout="constrained")
    for column, (axes, name) in enumerate(
        zip(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0], measures, strict=True)
    ):
        _draw(axes, evaluation, column)
        axes.set(title=name, xlabel="dimensions", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    figure.axes[0].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, evaluation: Evaluation, column: int) -> None:
    exact = [scores for scores in evaluation.scores if scores.mode == "dense" and scores.dimensions is not None]
    if exact:
        widths = [scores.dimensions or 0 for scores in exact]
        means = [_intervals(scores)[column] for scores in exact]
        below, above = [one.mean - one.low for one in means], [one.high - one.mean for one in means]
        axes.errorbar(widths, [one.mean for one in means], [below, above], marker="o", capsize=3, label="dense")
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [str(width) for width in widths])
    for number, scores in enumerate((scores for scores in evaluation.scores if scores.mode != "dense"), start=1):
        style, colour = LINE_STYLES[scores.mode], f"C{number}"
        axes.axhline(_intervals(scores)[column].mean, linestyle=style, color=colour, label=scores.mode)
