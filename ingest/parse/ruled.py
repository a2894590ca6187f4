"""Tables drawn with rules: the cells that the strokes of a page enclose, and the words in them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ingest.parse.page import Line, Page, Stroke
from ingest.parse.parsed import is_ideograph

_SAME = 2.0  # points: strokes closer than this are one rule, drawn twice or as a thin rectangle
_TOUCH = 3.0  # points: strokes closer than this meet


@dataclass(frozen=True, slots=True)
class RuledTable:
    """The rules of one table, and where they stand; it has at least two rows and two columns."""

    rows: list[Stroke]
    columns: list[Stroke]
    tops: list[float]  # ascending; the last one is the table's lower end
    lefts: list[float]

    @classmethod
    def of(cls, rows: list[Stroke], columns: list[Stroke]) -> RuledTable:
        return cls(rows, columns, sorted({row.position for row in rows}), sorted({rule.position for rule in columns}))

    def holds(self, line: Line) -> bool:
        is_between_rows = self.tops[0] < line.words[0].middle < self.tops[-1]
        return is_between_rows and self.lefts[0] < (line.left + line.right) / 2 < self.lefts[-1]

    def cells(self, lines: Iterable[Line]) -> list[list[str]]:
        """Texts by row and column; what stands in a merged cell goes to the first of the cells it covers."""
        grid = [["" for _ in self.lefts[1:]] for _ in self.tops[1:]]
        for line in sorted(lines, key=lambda line: line.top):
            placed = [(self._cell((word.left + word.right) / 2, word.middle), word.text) for word in line.words]
            for (row, column), words in groupby(placed, key=lambda item: item[0]):
                grid[row][column] = _continued(grid[row][column], " ".join(text for _, text in words))
        return grid

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        """A cell begins at the last rules above and to the left of a point that are long enough to pass it."""
        above = (rule.position for rule in self.rows if rule.position < y and rule.low < x < rule.high)
        before = (rule.position for rule in self.columns if rule.position < x and rule.low < y < rule.high)
        row = bisect_left(self.tops, max(above, default=self.tops[0]))
        column = bisect_left(self.lefts, max(before, default=self.lefts[0]))
        return min(row, len(self.tops) - 2), min(column, len(self.lefts) - 2)


def ruled_tables(page: Page) -> list[RuledTable]:
    """The tables of one page: rules that meet each other and enclose more than one row and column."""
    rows, columns = list(_rules(page.rows)), list(_rules(page.columns))
    tables = []
    while columns:
        own_rows: list[Stroke] = []
        own_columns = [columns.pop()]
        for column in own_columns:  # grows while it is walked, until nothing new meets it
            met, rows = _divided(rows, [column])
            own_rows += met
            met, columns = _divided(columns, met)
            own_columns += met
        table = RuledTable.of(own_rows, own_columns)
        if len(table.tops) > 2 and len(table.lefts) > 2:
            tables.append(table)
    return tables


def _divided(rules: list[Stroke], others: list[Stroke]) -> tuple[list[Stroke], list[Stroke]]:
    """Those that meet one of the others, and those that do not."""
    met = [rule for rule in rules if any(_meet(rule, other) for other in others)]
    return met, [rule for rule in rules if rule not in met]


def _meet(rule: Stroke, crossing: Stroke) -> bool:
    return (
        rule.low - _TOUCH <= crossing.position <= rule.high + _TOUCH
        and crossing.low - _TOUCH <= rule.position <= crossing.high + _TOUCH
    )


def _rules(strokes: Sequence[Stroke]) -> Iterator[Stroke]:
    """Strokes on one level that touch become one rule."""
    for level in _levels(strokes):
        position, low, high = level[0].position, level[0].low, level[0].high
        for stroke in sorted(level, key=lambda stroke: stroke.low):
            if stroke.low > high + _TOUCH:
                yield Stroke(position, low, high)
                low, high = stroke.low, stroke.high
            low, high = min(low, stroke.low), max(high, stroke.high)
        yield Stroke(position, low, high)


def _levels(strokes: Sequence[Stroke]) -> Iterator[list[Stroke]]:
    """Groups of strokes that stand at the same position, ascending."""
    level: list[Stroke] = []
    for stroke in sorted(strokes, key=lambda stroke: stroke.position):
        if level and stroke.position > level[0].position + _SAME:
            yield level
            level = []
        level.append(stroke)
    if level:
        yield level


def _continued(text: str, more: str) -> str:
    """Two lines of one cell, with a space unless both sides are Chinese."""
    return f"{text}{'' if not text or is_ideograph(text[-1]) or is_ideograph(more[0]) else ' '}{more}"
