"""Rows of the corpus in, tables and a picture out: `python -m benchmarks.corpus_report` rewrites docs/evaluation.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.corpus_questions import SETS
from benchmarks.corpus_rows import RESULTS, Row, latest, read
from benchmarks.rows import ROOT
from benchmarks.tables import markdown, number, replace_between_markers, where
from serve_app.core.errors import EmbedError, SetupError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = ROOT / "docs" / "evaluation.md"
PICTURE = ROOT / "docs" / "img" / "evaluation-dimensions.svg"
MAIN_STORE = "milvus-lite"
STORES = (MAIN_STORE, "milvus-2.3", "pgvector")
MODES = ("dense", "index", "bm25", "hybrid")
MEASURES = {"ndcg": "nDCG@10", "recall_10": "recall@10", "mrr": "MRR@10"}
SPEEDS = {
    "upsert_rows_per_s": "rows/s written",
    "dense_p50_ms": "vector search, p50 ms",
    "bm25_p50_ms": "BM25, p50 ms",
    "hybrid_p50_ms": "hybrid, p50 ms",
}


def write(found: Sequence[Row]) -> None:
    """Tables and picture of the newest whole run, into the page. Raises SetupError if there is none."""
    mine = latest(found)
    if not mine:
        raise SetupError("No run of the corpus has come to its end: run `python -m benchmarks.corpus`.")
    page = PAGE.read_text(encoding="utf-8")
    for name, content in sections(mine).items():
        page = replace_between_markers(page, name, content)
    PAGE.write_text(page, encoding="utf-8")
    draw(mine, PICTURE)


def sections(mine: Sequence[Row]) -> dict[str, str]:
    """What stands between each pair of markers; all rows are of one run."""
    return {
        "corpus": f"{where(mine[0].facts)}\n\n{_ingested(mine)}",
        "scores": "\n\n".join(f"{title}\n\n{_scores(mine, measure)}" for measure, title in MEASURES.items()),
        "gain": _gain(mine),
        "stores": _by_store(mine),
        "context": _context(mine),
        "speed": _speed(mine),
    }


def _ingested(mine: Sequence[Row]) -> str:
    names = ("files", "chunks", "tokens", "left_out")
    cells = [
        (row.labels["store"], row.labels["context"], *(f"{row.figures[name]:,.0f}" for name in names))
        for row in mine
        if row.kind == "ingest"
    ]
    return markdown(("store", "contextual header", "files", "chunks", "tokens embedded", "files left out"), cells)


def _select(mine: Sequence[Row], **labels: str) -> list[Row]:
    return [row for row in mine if row.kind == "score" and labels.items() <= row.labels.items()]


def _figure(mine: Sequence[Row], measure: str, **labels: str) -> float | None:
    """Of the first row that fits: for `dense` the widest."""
    found = _select(mine, **labels)
    return found[0].figures[measure] if found else None


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _scores(mine: Sequence[Row], measure: str) -> str:
    """By search and width, on the main store without the header."""
    plain = _select(mine, store=MAIN_STORE, context="off")
    ways = dict.fromkeys((row.labels["mode"], row.labels["dimensions"]) for row in plain)
    counts = {name: next(int(row.figures["count"]) for row in _select(plain, questions=name)) for name in SETS}
    lines = []
    for mode, width in ways:
        chosen = [_select(plain, questions=name, mode=mode, dimensions=width)[0].figures for name in SETS]
        lines.append((mode, width, *(_with_interval(figures, measure) for figures in chosen)))
    return markdown(("search", "dimensions", *(f"{name} ({counts[name]})" for name in SETS)), lines)


def _with_interval(figures: dict[str, float], measure: str) -> str:
    low, high = figures[f"{measure}_low"], figures[f"{measure}_high"]
    return f"{figures[measure]:.3f} ({low:.2f}–{high:.2f})"


def _gain(mine: Sequence[Row]) -> str:
    lines = []
    for store in STORES:
        for name in SETS:
            here = _select(mine, store=store, context="off", questions=name)
            ways = [_figure(here, "recall_10", mode=mode) for mode in ("dense", "bm25", "hybrid")]
            dense, words, both = ways
            if dense is not None and words is not None and both is not None:
                lines.append((store, name, *map(_plain, ways), f"{both - max(dense, words):+.3f}"))
    return markdown(("store", "questions", "dense", "BM25", "hybrid", "hybrid against the better one"), lines)


def _by_store(mine: Sequence[Row]) -> str:
    lines = []
    for store in STORES:
        for mode in MODES:
            here = _select(mine, store=store, context="off", mode=mode)
            if here:
                lines.append((store, mode, *(_plain(_figure(here, "ndcg", questions=name)) for name in SETS)))
    return markdown(("store", "search", *SETS), lines)


def _context(mine: Sequence[Row]) -> str:
    lines = []
    for name in SETS:
        for mode in ("dense", "bm25", "hybrid"):
            off, on = (
                _figure(mine, "ndcg", store=MAIN_STORE, context=context, mode=mode, questions=name)
                for context in ("off", "on")
            )
            if off is not None and on is not None:
                lines.append((name, mode, _plain(off), _plain(on), f"{on - off:+.3f}"))
    return markdown(("questions", "search", "without header", "with header", "difference"), lines)


def _speed(mine: Sequence[Row]) -> str:
    lines = []
    for row in mine:
        if row.kind == "store":
            cells = (number(row.figures[name]) if name in row.figures else "–" for name in SPEEDS)
            lines.append((row.labels["store"], f"{row.figures['rows']:,.0f}", *cells))
    return markdown(("store", "rows", *SPEEDS.values()), lines)


def draw(mine: Sequence[Row], path: Path) -> None:
    """nDCG by width, a panel a set of questions. The same rows give the same bytes. Raises SetupError."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SetupError("The picture needs matplotlib: pip install 'embed-cluster[eval]'.") from error
    figure = Figure(figsize=(10.0, 3.0), layout="constrained")
    panels = figure.subplots(1, len(SETS), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, SETS, strict=True):
        _panel(axes, _select(mine, store=MAIN_STORE, context="off", questions=name))
        axes.set(title=name, xlabel="dimensions", ylim=(0, 1))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(MEASURES["ndcg"])
    panels[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "embed-cluster"}):
        figure.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    dense = [row for row in rows if row.labels["mode"] == "dense"]
    widths = [int(row.labels["dimensions"]) for row in dense]
    means = [row.figures["ndcg"] for row in dense]
    below = [row.figures["ndcg"] - row.figures["ndcg_low"] for row in dense]
    above = [row.figures["ndcg_high"] - row.figures["ndcg"] for row in dense]
    axes.errorbar(widths, means, [below, above], marker="o", capsize=3, label="dense")
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    for mode, style, colour in (("bm25", "--", "C1"), ("hybrid", "-.", "C2")):
        value = _figure(rows, "ndcg", mode=mode)
        if value is not None:
            axes.axhline(value, linestyle=style, color=colour, label=mode)


if __name__ == "__main__":
    try:
        write(read(RESULTS))
    except EmbedError as error:
        Console().print(f"report: {error.message}", markup=False)
        sys.exit(1)
