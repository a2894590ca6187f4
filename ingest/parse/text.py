"""Plain text: its paragraphs, and the few headings that are beyond doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ingest.parse.encoding import decode
from ingest.parse.headings import chinese_level, is_capitals, numbered_level, reads_like_heading, width
from ingest.parse.parsed import Parsed, is_ideograph, with_first_heading
from ingest.records import Block

_WRAP_WIDTH = 60  # columns
_STOPS = re.compile(r"[。！？；：.!?;:…][”’\"')）」』]*$")
_STARTS_ANEW = re.compile(r"\s*(?:[-*+•|>#]|\d+[.)、]|[a-zA-Z][.)]|[（(]|第\S{1,5}[章节条])|\s*$")
_GAP = re.compile(r"\s{3,}|\t")  # columns of a table
_UNDERLINE = re.compile(r"(={3,}|-{3,})$")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is not blank, with its neighbours that are not blank either (stripped; empty where there is none)."""

    text: str
    before: str
    after: str
    is_first: bool  # a blank line or nothing stands directly above
    is_last: bool  # … directly below

    @property
    def stripped(self) -> str:
        return self.text.strip()


def read(content: bytes) -> Parsed:
    return with_first_heading(list(_blocks(_lines(decode(content)), has_title=True)))


def text_blocks(text: str) -> list[Block]:
    """The blocks of plain text inside another format; a short line at its top is no title. Line ends are `\n`."""
    return list(_blocks(_lines(text), has_title=False))


def _lines(text: str) -> list[_Line]:
    """Blank lines only leave their mark on the lines around them."""
    numbered = [(number, line.rstrip()) for number, line in enumerate(text.split("\n")) if line.strip()]
    edge = (-2, "")
    return [
        _Line(line, before[1].strip(), after[1].strip(), number != before[0] + 1, number + 1 != after[0])
        for before, (number, line), after in zip([edge, *numbered], numbered, [*numbered[1:], edge], strict=False)
    ]


def _blocks(lines: list[_Line], has_title: bool) -> Iterator[Block]:
    paragraph: list[str] = []
    rest = iter(lines)
    for line in rest:
        underlined = _underlined_level(line)
        level = underlined or (_title_level(line) if has_title else None) or _worded_level(line)
        if line.is_first or level is not None:
            yield from _text_block(paragraph)
            paragraph = []
        if level is None:
            paragraph.append(line.text)
            continue
        yield Block("heading", line.stripped, level=level)
        if underlined is not None:
            next(rest)
    yield from _text_block(paragraph)


def _text_block(lines: list[str]) -> Iterator[Block]:
    if lines:
        yield Block("text", _unwrapped(lines))


def _unwrapped(lines: list[str]) -> str:
    """The lines as text, those joined that only the margin broke: long ones that stop within a sentence."""
    parts = lines[:1]
    for before, line in pairwise(lines):
        is_wrapped = width(before) >= _WRAP_WIDTH and not _STOPS.search(before) and not _STARTS_ANEW.match(line)
        if not is_wrapped or _GAP.search(before.strip()) or _GAP.search(line.strip()):
            parts += ("\n", line)
        else:
            start = line.lstrip()
            parts += ("" if is_ideograph(before[-1]) and is_ideograph(start[0]) else " ", start)
    return "".join(parts)


def _underlined_level(line: _Line) -> int | None:
    """A row of `=` or `-` below marks a heading if it is about as long as the line, and no table's header row."""
    text, after = line.stripped, line.after
    if line.is_last or not _UNDERLINE.match(after) or "  " in text or not text[0].isalnum():
        return None
    fits = abs(width(text) - len(after)) <= max(3, width(text) // 2)
    return (1 if after[0] == "=" else 2) if fits and reads_like_heading(text) else None


def _title_level(line: _Line) -> int | None:
    """A short line alone at the top is the title."""
    text = line.stripped
    is_alone = line.is_first and line.is_last and line.before == "" and line.after != ""
    is_marked = chinese_level(text) is not None or numbered_level(text) is not None
    is_title = is_alone and not is_marked and text[0].isalpha() and reads_like_heading(text)
    return 1 if is_title and not text.endswith((":", "：")) else None


def _worded_level(line: _Line) -> int | None:
    """Two of a kind in a row are not headings but the items of a list, or of a table of contents."""
    text = line.stripped
    level = chinese_level(text)
    if level is not None:
        return None if level in (chinese_level(line.before), chinese_level(line.after)) else level
    level = numbered_level(text) or (2 if is_capitals(text) else None)
    if level in (numbered_level(line.before), numbered_level(line.after)):
        return None
    return level if line.is_first and line.is_last and line.after else None
