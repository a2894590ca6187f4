"""Markdown (CommonMark and its pipe tables), with HTML islands read as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.metadata import split_front_matter
from ingest.parse.encoding import decode
from ingest.parse.html import html_blocks
from ingest.parse.parsed import Parsed, join_chinese_lines, with_first_heading
from ingest.parse.tables import table_blocks
from ingest.records import Block, BlockKind

_HARD_BREAK = "\v"  # no CommonMark text holds it
_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)


def read(content: bytes) -> Parsed:
    """Front matter is metadata and not text; its title stands in where no heading gives one."""
    front, body = split_front_matter(decode(content))
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    parsed = with_first_heading(list(_Reader().blocks(tokens)))
    title = front.get("title")
    return Parsed(str(title), parsed.blocks) if title is not None and parsed.title is None else parsed


@dataclass(slots=True)
class _Reader:
    """Walks the token stream; the lines of a list gather until the list ends, so that it stays one block."""

    markers: list[int] = field(default_factory=list)  # one an open list: the next number, or 0 for a bullet
    marker: str = ""  # still to be written before the item's first line
    lines: list[str] = field(default_factory=list)

    def blocks(self, tokens: Sequence[Token]) -> Iterator[Block]:
        stream = iter(tokens)
        for token in stream:
            if token.type == "heading_open":
                yield from self._flushed()
                yield from _heading(int(token.tag[1]), next(stream))
            elif token.type == "table_open":
                yield from self._flushed()
                yield from table_blocks(_rows(stream))
            elif token.type in ("fence", "code_block"):
                yield from self._flushed()
                yield from _stripped("code", token.content)
            elif token.type == "html_block":
                yield from self._flushed()
                yield from html_blocks(token.content)
            elif token.type == "inline":
                yield from self._paragraph(_plain(token))
            else:
                yield from self._list_token(token)
        yield from self._flushed()

    def _paragraph(self, text: str) -> Iterator[Block]:
        if not self.markers:
            yield from _stripped("text", text)
            return
        indent = "  " * (len(self.markers) - 1)
        if text:
            self.lines.append(f"{indent}{self.marker}{text}")
            self.marker = ""

    def _list_token(self, token: Token) -> Iterator[Block]:
        if token.type in ("bullet_list_open", "ordered_list_open"):
            self.markers.append(int(token.attrGet("start") or 1) if token.type.startswith("ordered") else 0)
        elif token.type == "list_item_open":
            number = self.markers[-1]
            self.marker = f"{number}. " if number else "- "
            self.markers[-1] += 1 if number else 0
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self.markers.pop()
            if not self.markers:
                yield from self._flushed()

    def _flushed(self) -> Iterator[Block]:
        yield from _stripped("text", "\n".join(self.lines))
        self.lines = []


def _heading(level: int, inline: Token) -> Iterator[Block]:
    text = " ".join(_plain(inline).split())
    if text:
        yield Block("heading", text, level=level)


def _stripped(kind: BlockKind, text: str) -> Iterator[Block]:
    text = text.strip("\n").rstrip()
    if text:
        yield Block(kind, text)


def _rows(stream: Iterator[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in stream:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_plain(token))
    return rows


def _plain(inline: Token) -> str:
    """What a reader sees: no emphasis marks, a link's words, an image's description."""
    parts = []
    for child in inline.children or ():
        if child.type in ("text", "code_inline", "image"):
            parts.append(child.content)
        elif child.type == "softbreak":
            parts.append("\n")
        elif child.type == "hardbreak" or _BREAK_TAG.fullmatch(child.content):
            parts.append(_HARD_BREAK)
    return join_chinese_lines("".join(parts)).replace("\n", " ").replace(_HARD_BREAK, "\n")
