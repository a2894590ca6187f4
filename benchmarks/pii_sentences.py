"""The labelled sentences: `python -m benchmarks.pii_sentences` makes them again from templates and hard negatives.

A template holds names of kinds of values in braces, `{w:KIND}` for full-width digits, or a labelled value itself,
`{=ENTITY:value}`. The same seed gives the same file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from benchmarks.pii_values import KINDS, full_width
from benchmarks.rows import ROOT, read_lines

FOLDER = ROOT / "benchmarks" / "data" / "pii"
SENTENCES = FOLDER / "sentences.jsonl"
SEED = 20240315
SENTENCES_PER_TEMPLATE = 5
PLACE = re.compile(r"\{(?:(?P<wide>w:)?(?P<kind>[A-Z_]+)|=(?P<entity>[A-Z_]+):(?P<value>[^}]+))\}")

Part = Literal["tuned", "held-out"]
Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` is a value of the entity."""

    entity: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """`part` says whether the recognisers' author could see how they do on it while writing them."""

    part: Part
    language: Language
    text: str
    spans: tuple[Span, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def filled(template: str, random: Random) -> tuple[str, tuple[Span, ...]]:
    """The template with made-up values, and where they stand."""
    text, spans, done = "", [], 0
    for place in PLACE.finditer(template):
        text += template[done : place.start()]
        entity, value = _labelled(place, random)
        spans.append(Span(entity, len(text), len(text) + len(value)))
        text += value
        done = place.end()
    return text + template[done:], tuple(spans)


def _labelled(place: re.Match[str], random: Random) -> tuple[str, str]:
    if place["entity"]:
        return place["entity"], place["value"]
    entity, make = KINDS[place["kind"]]
    return entity, full_width(make(random)) if place["wide"] else make(random)


def generate() -> Iterator[Sentence]:
    random = Random(SEED)  # noqa: S311
    for line in _objects(FOLDER / "templates.jsonl"):
        for _ in range(1 if "{=" in line["text"] else SENTENCES_PER_TEMPLATE):
            text, spans = filled(line["text"], random)
            yield Sentence(line["part"], line["language"], text, spans)
    for line in _objects(FOLDER / "negatives.jsonl"):
        yield Sentence(line["part"], line["language"], line["text"], ())


def read() -> list[Sentence]:
    """The committed sentences."""
    return [
        Sentence(line["part"], line["language"], line["text"], tuple(Span(**span) for span in line["spans"]))
        for line in _objects(SENTENCES)
    ]


def _objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_lines(path)]


if __name__ == "__main__":
    SENTENCES.write_text("".join(f"{sentence.to_json()}\n" for sentence in generate()), encoding="utf-8")
