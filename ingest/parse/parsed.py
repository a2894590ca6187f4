"""What every format's parser gives back, and what they share about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.records import Block

_RANGES = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_IDEOGRAPH = re.compile(f"[{_RANGES}]")
_BREAK_INSIDE_CHINESE = re.compile(f"(?<=[{_RANGES}])[ \t]*\n[ \t]*(?=[{_RANGES}])")


@dataclass(frozen=True, slots=True)
class Parsed:
    """`title` is None where the content names none; the file's stem stands in for it then."""

    title: str | None
    blocks: tuple[Block, ...]


Parser = Callable[[bytes], Parsed]


def with_first_heading(blocks: Sequence[Block]) -> Parsed:
    """Parsed content whose title is its first heading of level 1."""
    title = next((block.text for block in blocks if block.kind == "heading" and block.level == 1), None)
    return Parsed(title, tuple(blocks))


def join_chinese_lines(text: str) -> str:
    """Remove line breaks between two Chinese characters: there, a wrapped line hides no space."""
    return _BREAK_INSIDE_CHINESE.sub("", text)


def is_ideograph(character: str) -> bool:
    """Whether a character belongs to a script written without spaces between words, or to its punctuation."""
    return _IDEOGRAPH.match(character) is not None
