"""Lines on pages: what a PDF gives, and what headings, paragraphs and tables are found in.

Lengths are in points, from the page's left and top edge as the reader holds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_BIGGER = 1.15  # times the body's size
_GAP = 1.2  # times the font's size; spaces between words stay below, even in justified text


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    left: float
    right: float
    middle: float  # height; PDFium may put words of neighbouring rows into one line


@dataclass(frozen=True, slots=True)
class Line:
    """One line of print."""

    text: str
    words: tuple[Word, ...]
    page: int  # from 1
    top: float  # of the baseline
    size: float  # of the font
    is_bold: bool = False
    is_hyphenated: bool = False  # ends in a hyphen that is not in `text`, because only the line's end caused it
    is_faint: bool = False  # printed in a light or see-through colour, but not in the white of print on a dark ground

    @property
    def left(self) -> float:
        return self.words[0].left

    @property
    def right(self) -> float:
        return self.words[-1].right

    @property
    def is_spread(self) -> bool:
        """Whether a wide gap parts its words, as in the row of a table."""
        return any(after.left - word.right > _GAP * self.size for word, after in pairwise(self.words))


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight stroke along one axis: where it stands on the other axis, and from where to where it goes."""

    position: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Page:
    number: int  # from 1
    height: float
    lines: tuple[Line, ...]
    rows: tuple[Stroke, ...] = ()  # horizontal strokes
    columns: tuple[Stroke, ...] = ()  # vertical strokes


@dataclass(frozen=True, slots=True)
class BodyStyle:
    """How most of the text is set; headings are what differs from it."""

    size: float
    is_bold: bool

    @classmethod
    def of(cls, lines: Sequence[Line]) -> BodyStyle:
        weights = Counter[tuple[float, bool]]()
        for line in lines:
            weights[line.size, line.is_bold] += len(line.text)
        return cls(*max(weights, key=lambda style: weights[style], default=(1.0, False)))

    def is_smaller_than(self, line: Line) -> bool:
        return line.size >= _BIGGER * self.size

    def is_lighter_than(self, line: Line) -> bool:
        return line.is_bold and not self.is_bold and line.size >= self.size
