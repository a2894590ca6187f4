"""From lines of print back to headings and paragraphs. Knows geometry and wording, not PDF."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

from ingest.parse.headings import chinese_level, numbered_level, reads_like_heading, width
from ingest.parse.page import BodyStyle, Line
from ingest.parse.parsed import is_ideograph

_MAX_HEADING_WIDTH = 120  # columns, for a heading set larger than the text
_MAX_HEADING_LINES = 3
_MAX_LEVEL = 6
_NARROWEST = 8  # times the font's size: how wide a column of text is at least
_SENTENCE_END = re.compile(r"[。！？!?.:：;；…][”’\"')）」』]*$")
_LIST_ITEM = re.compile(
    r"[•●▪◦‣·○■□◆➢①-⑳]|[-–—*]\s|\d{1,2}(?:[.)]|(?:\.\d{1,2})+\.?)\s|[a-zA-Z][.)]\s|\d{1,2}[、．]|"
    r"[（(](?:\d{1,2}|[a-z]|[一二三四五六七八九十]{1,3})[）)]|[一二三四五六七八九十]{1,3}、|第\S{1,5}[条章节]\s"
)
_FIRST_WORD = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]+")
Style = tuple[str, float]  # what marks a heading (size, weight or wording), and how much of it


def levels(styles: set[Style]) -> dict[Style, int]:
    """Levels from 1: larger print first, then bold print, then what only its wording marks."""
    order = ("size", "weight", "wording")
    ranked = sorted(styles, key=lambda style: (order.index(style[0]), -style[1]))
    return {style: min(rank, _MAX_LEVEL) for rank, style in enumerate(ranked, 1)}


@dataclass(frozen=True, slots=True)
class Flow:
    """Lines in reading order, and what is usual among them. Lines are named by their index."""

    lines: list[Line]
    body: BodyStyle
    pitch: float  # usual distance of two baselines in a paragraph, in points
    edges: list[float]  # of each line: how far right its column reaches

    @classmethod
    def of(cls, lines: list[Line]) -> Flow:
        body = BodyStyle.of(lines)
        gaps = [line.top - before.top for before, line in pairwise(lines) if before.page == line.page]
        usual = [gap for gap in gaps if 0.8 * body.size < gap < 3 * body.size]
        edges = [edge for _, page in groupby(lines, key=lambda line: line.page) for edge in _edges(list(page))]
        return cls(lines, body, median(usual) if usual else 1.5 * body.size, edges)

    def groups(self, breaks: Container[int]) -> Iterator[tuple[Style | None, range]]:
        """Runs of lines that make one heading (with its style) or one paragraph (without).

        None of them runs over an index in `breaks`.
        """
        styles = [self._style(index) for index in range(len(self.lines))]
        start = 0
        for index in range(1, len(self.lines) + 1):
            style = styles[start]
            is_cut = index in breaks or index == len(self.lines)
            if is_cut or styles[index] != style or not self._continues(index, style):
                yield (style if index - start <= _MAX_HEADING_LINES else None), range(start, index)
                start = index

    def joined(self, indices: range, is_heading: bool) -> str:
        text = self.lines[indices[0]].text
        for index in indices[1:]:
            text += self._separator(index, is_heading) + self.lines[index].text
        return text

    def _separator(self, index: int, is_heading: bool) -> str:
        before, line = self.lines[index - 1], self.lines[index]
        if before.is_hyphenated:
            return "" if line.text[0].islower() else "-"
        if not is_heading and not self._runs_on(index - 1):
            return "\n"
        is_compound = before.text.endswith("-") and line.text[0].islower()
        return "" if is_compound or is_ideograph(before.text[-1]) or is_ideograph(line.text[0]) else " "

    def _continues(self, index: int, style: Style | None) -> bool:
        """Whether a line belongs to the same heading or paragraph as the line before it, which has the same style."""
        before, line = self.lines[index - 1], self.lines[index]
        is_below = line.page == before.page and line.top > before.top - 1
        gap = line.top - before.top
        if style is not None:
            return is_below and gap < 1.8 * line.size and not _LIST_ITEM.match(line.text)
        if not is_below:  # the next column, or the next page
            return self._runs_on(index - 1) and not _SENTENCE_END.search(before.text)
        if gap > 1.3 * self.pitch or not _is_like(line, before):
            return False
        is_indented = line.left > before.left + 1.2 * line.size
        return not is_indented or (self._runs_on(index - 1) and not _SENTENCE_END.search(before.text))

    def _runs_on(self, index: int) -> bool:
        """Whether a line was broken only because the next word did not fit into it."""
        line, following = self.lines[index], self.lines[index + 1]
        if line.is_hyphenated:
            return True
        is_narrow = self.edges[index] - line.left < _NARROWEST * line.size  # a column of figures, not of text
        if is_narrow or line.is_spread or following.is_spread or _LIST_ITEM.match(following.text):
            return False
        word = _FIRST_WORD.match(following.text)
        column_width = (following.right - following.left) / max(1, width(following.text))
        needed = column_width * width(word[0] if word else "") + 0.3 * line.size
        return self.edges[index] - line.right < needed and abs(line.left - following.left) < 4 * line.size

    def _style(self, index: int) -> Style | None:
        line = self.lines[index]
        if line.is_spread or not any(character.isalpha() for character in line.text):
            return None
        asked = line.text.rstrip("?？!！")
        if self.body.is_smaller_than(line) and reads_like_heading(asked, _MAX_HEADING_WIDTH):
            return "size", line.size
        if self.body.is_lighter_than(line) and reads_like_heading(asked) and not asked.endswith((":", "：")):
            return "weight", line.size
        level = self._worded_level(index)
        return None if level is None else ("wording", -level)

    def _worded_level(self, index: int) -> int | None:
        """The level of a line that is numbered like a heading, stands alone, and is not the item of a list."""
        if index + 1 == len(self.lines) or self._runs_on(index) or (index > 0 and self._runs_on(index - 1)):
            return None
        line, before, after = self.lines[index], self.lines[index - 1] if index > 0 else None, self.lines[index + 1]
        others = [after.text] if before is None else [before.text, after.text]
        level = chinese_level(line.text)
        if level is not None:
            return None if level in map(chinese_level, others) else level
        is_apart = before is None or before.page != line.page or line.top - before.top > 1.3 * self.pitch
        level = numbered_level(line.text)
        return level if is_apart and level not in map(numbered_level, others) else None


def _edges(page: list[Line]) -> list[float]:
    """How far right each line's column reaches: as far as the widest line that begins below or above it."""
    whole = max(line.right for line in page)
    edges = []
    for line in page:
        near = [other for other in page if abs(other.left - line.left) < 2.5 * line.size and _is_like(other, line)]
        edges.append(max(other.right for other in near) if len(near) > 1 else whole)
    return edges


def _is_like(line: Line, other: Line) -> bool:
    return 0.9 < line.size / max(other.size, 0.1) < 1.1
