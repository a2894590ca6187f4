"""Questions whose answers are known: from a file, or from the headings of the stored documents themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingest.records import PATH_MARK
from ingest.sinks.base import Stored
from serve_app.core.errors import SetupError

FORMAT = '{"question": "…", "answers": [{"source_file": "…", "page": 3}]}, with page, section and chunk_id as you like'


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stored chunk stands: what remains of it after the first look at a collection."""

    key: str
    source: str
    source_file: str
    chunk_id: str
    page_number: int | None
    page_end: int | None
    path: str  # headings joined by PATH_MARK

    @classmethod
    def of(cls, stored: Stored) -> Place:
        return cls(
            key=stored.key,
            source=stored.source,
            source_file=stored.source_file,
            chunk_id=stored.chunk_id,
            page_number=stored.page_number,
            page_end=stored.page_end,
            path=PATH_MARK.join(stored.heading_path),
        )


class Answer(BaseModel):
    """A place in a document; a chunk is part of it if all that is said of it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source_file: str = Field(min_length=1)
    page: int | None = Field(None, ge=1)
    section: str | None = None  # a heading, or some in a row joined by PATH_MARK; what stands under it belongs to it
    chunk_id: str | None = None

    def holds(self, place: Place) -> bool:
        first, last = place.page_number, place.page_end or place.page_number
        on_page = self.page is None or (first is not None and last is not None and first <= self.page <= last)
        in_section = self.section is None or _framed(self.section) in _framed(place.path)
        is_chunk = self.chunk_id is None or self.chunk_id == place.chunk_id
        return place.source_file == self.source_file and on_page and in_section and is_chunk


def _framed(path: str) -> str:
    return f"{PATH_MARK}{path}{PATH_MARK}"


class Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    question: str = Field(min_length=1)
    answers: list[Answer] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question with the keys of the chunks of each answer; empty where nothing of that place is stored."""

    text: str
    answers: tuple[frozenset[str], ...]


def read_questions(path: Path) -> list[Question]:
    """One JSON object a line. Raises SetupError that names the line and the field, never what is there."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise SetupError(f"The questions {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"The questions {path} are not UTF-8 text: save them as UTF-8.") from error
    found = [_question(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise SetupError(f"There is no question in {path}; a line is {FORMAT}.")
    return found


def _question(path: Path, number: int, line: str) -> Question:
    try:
        return Question.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise SetupError(
            f"{path}, line {number}: {field or 'the line'}: {problem['msg']}. A line is {FORMAT}."
        ) from None


def from_headings(places: Iterable[Place]) -> list[Question]:
    """Known items: the path of headings asks for the chunks under it.

    Only of sections without subsections, whose chunks are about one thing, and only where no two documents have the
    same path: a question must have one answer.
    """
    files: dict[str, set[str]] = defaultdict(set)  # path → documents
    names: dict[str, str] = {}
    parents: set[tuple[str, str]] = set()
    for place in places:
        if place.path:
            files[place.path].add(place.source)
            names[place.path] = place.source_file
            parents.update((place.source, parent) for parent in _parents(place.path))
    return [
        Question(question=path, answers=[Answer(source_file=names[path], section=path)])
        for path, sources in files.items()
        if len(sources) == 1 and (next(iter(sources)), path) not in parents
    ]


def _parents(path: str) -> list[str]:
    headings = path.split(PATH_MARK)
    return [PATH_MARK.join(headings[:depth]) for depth in range(1, len(headings))]


def sample(questions: list[Question], limit: int, seed: int) -> list[Question]:
    """At most `limit` of them, in their order."""
    if len(questions) <= limit:
        return questions
    chosen = np.random.default_rng(seed).choice(len(questions), size=limit, replace=False)
    return [questions[index] for index in np.sort(chosen)]


def label(questions: Iterable[Question], places: Sequence[Place]) -> list[LabelledQuestion]:
    """Find the chunks of every answer."""
    by_file: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_file[place.source_file].append(place)
    return [
        LabelledQuestion(
            question.question,
            tuple(
                frozenset(place.key for place in by_file.get(answer.source_file, ()) if answer.holds(place))
                for answer in question.answers
            ),
        )
        for question in questions
    ]
