"""The sets of questions: headings of what is stored, and questions written by hand; English and Chinese apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.rows import ROOT
from ingest.evaluate.questions import Place, Question, from_headings, read_questions, sample

WRITTEN = ROOT / "benchmarks" / "data" / "questions-debian.jsonl"
MOST = 150  # of a set
SEED = 0
SETS = ("written, English", "written, Chinese", "headings, English", "headings, Chinese")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def question_sets(places: Iterable[Place]) -> dict[str, list[Question]]:
    """By the names in SETS."""
    written, headings = split(read_questions(WRITTEN)), split(from_headings(places))
    parts = (*written, *headings)
    return {name: sample(part, MOST, SEED) for name, part in zip(SETS, parts, strict=True)}


def split(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """(English, Chinese), in their order."""
    chinese = [question for question in questions if _CHINESE.search(question.question)]
    return [question for question in questions if question not in chinese], chinese


def save(path: Path, questions: Sequence[Question]) -> None:
    """As `embedctl eval --questions` reads them."""
    lines = [question.model_dump_json(exclude_none=True) + "\n" for question in questions]
    path.write_text("".join(lines), encoding="utf-8")
