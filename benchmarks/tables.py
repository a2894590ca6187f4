"""How figures look on a page: numbers, Markdown tables, where a run was, and the marked part of a page."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.rows import Facts
from serve_app.core.errors import SetupError


def number(value: float) -> str:
    """Three or so digits that mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))


def where(facts: Facts) -> str:
    """When, at which commit, on which machine, with which versions."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    changed = " with uncommitted changes" if facts.is_dirty else ""
    return f"{facts.run[:10]}, commit {facts.commit[:12]}{changed}, {facts.cpus} × {facts.cpu}; {versions}."


def replace_between_markers(page: str, name: str, content: str) -> str:
    """The page with `content` between the markers of that name. Raises SetupError unless they are there once each."""
    begin_mark, end_mark = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = page.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end or begin_mark in rest or end_mark in after:
        raise SetupError(f"The page needs one {begin_mark} and, after it, one {end_mark}.")
    return f"{before}{begin_mark}\n{content}\n{end_mark}{after}"
