"""Headings that only their wording gives away, for formats that do not mark them.

A line is taken for a heading only if it is short, numbered the way headings are, and does not end like a sentence.
"""

from __future__ import annotations

import re
import unicodedata

MAX_WIDTH = 60  # columns; a Chinese character takes two
_NUMERAL = "[0-9〇零一二三四五六七八九十百千两]+"
_CHINESE = (
    (re.compile(rf"第\s?{_NUMERAL}\s?(?:编|篇|卷|部分)(?:[\s:：]|$)"), 2),
    (re.compile(rf"第\s?{_NUMERAL}\s?章"), 3),
    (re.compile(rf"第\s?{_NUMERAL}\s?节"), 4),
    (re.compile(rf"第\s?{_NUMERAL}\s?条(?:[\s:：]|$)"), 5),
    (re.compile(r"[一二三四五六七八九十]+、\s?\S"), 6),
    (re.compile(r"[（(][一二三四五六七八九十]+[）)]\s?\S"), 7),
)
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+(?=[^\W\d_a-z])")  # `30 days` is no heading
_ENDS_LIKE_TEXT = re.compile(r"[。；，、.;,!?！？…]$|\n")
_SENTENCE = re.compile("[，。；]")
_LEADS_TO_PAGE_NUMBER = re.compile(r"(?:[.…·\s]{3,}|\t)\d+$")


def chinese_level(line: str) -> int | None:
    """The level of `第三章 …`, `第十二条 …`, `一、…`, `（一）…` standing alone, else None; 2 is the outermost."""
    if not reads_like_heading(line) or _SENTENCE.search(line) or (line.endswith((":", "：")) and width(line) > 24):
        return None
    return next((level for pattern, level in _CHINESE if pattern.match(line)), None)


def numbered_level(line: str) -> int | None:
    """The level of `2 Scope` (2), `2.1 Terms` (3), …, else None."""
    match = _NUMBERED.match(line)
    return match[1].count(".") + 2 if match and reads_like_heading(line) else None


def is_capitals(line: str) -> bool:
    """Whether the line is a heading written in capitals."""
    letters = sum(character.isalpha() for character in line)
    return letters >= 4 and line.isupper() and line.isascii() and 2 * letters > len(line) and reads_like_heading(line)


def reads_like_heading(line: str, max_width: int = MAX_WIDTH) -> bool:
    """Short, not ended like a sentence, and not a line of a table of contents."""
    return (
        len(line) <= max_width
        and width(line) <= max_width
        and not _ENDS_LIKE_TEXT.search(line)
        and not _LEADS_TO_PAGE_NUMBER.search(line)
    )


def width(line: str) -> int:
    """Columns in a fixed-width font."""
    if line.isascii():
        return len(line)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)
