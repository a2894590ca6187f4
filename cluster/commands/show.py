"""How results look on a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from ingest.sinks.base import Hit

PASSAGE_CHARACTERS = 280
SENTENCE = re.compile(r"[^。！？]*[。！？]|.+?(?:[.!?](?=\s)|$)")


def print_hits(console: Console, question: str, hits: Sequence[Hit]) -> None:
    """The question, then each hit with its score, where it stands, and how it begins."""
    console.print(f"[bold]? {escape(question)}[/bold]")
    if not hits:
        console.print("  nothing found")
    for rank, hit in enumerate(hits, start=1):
        console.print(f"  {rank}. [cyan]{hit.score:.3f}[/cyan]  {escape(_place(hit))}", soft_wrap=True)
        console.print(f"     [dim]{escape(passage(hit.text, question))}[/dim]", soft_wrap=True)
    console.print()


def _place(hit: Hit) -> str:
    page = f", page {hit.page_number}" if hit.page_number is not None else ""
    section = f" · {' > '.join(hit.heading_path)}" if hit.heading_path else ""
    return f"{hit.source_file}{page}{section}  [{hit.chunk_id}]"


def passage(text: str, question: str) -> str:
    """The stretch of a chunk that shares most with the question, so that a reader sees the answer and not the start.

    Overlap is counted in pairs of neighbouring characters, which works for Chinese and English alike.
    """
    sentences = [sentence.strip() for sentence in SENTENCE.findall(" ".join(text.split())) if sentence.strip()]
    if not sentences:
        return ""
    wanted = _pairs(question)
    best = max(range(len(sentences)), key=lambda index: len(wanted & _pairs(sentences[index])))
    shown = sentences[best]
    for sentence in sentences[best + 1 :]:
        if len(shown) + len(sentence) >= PASSAGE_CHARACTERS:
            break
        shown = f"{shown} {sentence}"
    return shown if len(shown) <= PASSAGE_CHARACTERS else f"{shown[:PASSAGE_CHARACTERS]}…"


def _pairs(text: str) -> set[str]:
    lowered = text.lower()
    return {lowered[index : index + 2] for index in range(len(lowered) - 1) if not lowered[index : index + 2].isspace()}
