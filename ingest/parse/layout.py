"""Printed pages → blocks: page furniture out, ruled tables as tables, the rest as headings and paragraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.parse.flow import Flow, levels
from ingest.parse.furniture import is_furniture
from ingest.parse.page import Line, Page
from ingest.parse.ruled import ruled_tables
from ingest.parse.tables import table_blocks
from ingest.records import Block

_SAME_COLUMN = 2.0  # points


@dataclass(frozen=True, slots=True)
class _Table:
    """A table between lines of text: `position` is how many of them stand before it."""

    position: int
    page: int
    lefts: list[float]
    rows: list[list[str]]


def page_blocks(pages: Sequence[Page]) -> list[Block]:
    """Headings, paragraphs and tables, in order; a paragraph that runs over a page's end belongs to its first page."""
    lines, tables = _sorted_out(pages)
    flow = Flow.of(lines)
    groups = list(flow.groups(breaks={table.position for table in tables}))
    rank = levels({style for style, _ in groups if style is not None})
    blocks: list[Block] = []
    for style, group in groups:
        while tables and tables[0].position <= group[0]:
            blocks += table_blocks(tables[0].rows, tables.pop(0).page)
        text, page = flow.joined(group, is_heading=style is not None), lines[group[0]].page
        blocks.append(Block("text", text, page=page) if style is None else Block("heading", text, rank[style], page))
    return [*blocks, *(block for table in tables for block in table_blocks(table.rows, table.page))]


def _sorted_out(pages: Sequence[Page]) -> tuple[list[Line], list[_Table]]:
    """The lines of running text, and the tables between them."""
    is_dropped = is_furniture(pages)
    lines: list[Line] = []
    tables: list[_Table] = []
    for page in pages:
        ruled = ruled_tables(page)
        inside: dict[int, list[Line]] = {}
        positions: dict[int, int] = {}
        for line in page.lines:
            number = next((number for number, table in enumerate(ruled) if table.holds(line)), None)
            if number is not None:
                inside.setdefault(number, []).append(line)
                positions.setdefault(number, len(lines))
            elif not is_dropped(page, line):
                lines.append(line)
        for number, position in positions.items():
            table = ruled[number]
            tables.append(_Table(position, page.number, table.lefts, table.cells(inside[number])))
    return lines, [_with_header(table, before) for table, before in zip(tables, [None, *tables], strict=False)]


def _with_header(table: _Table, before: _Table | None) -> _Table:
    """A table that goes on from the page before gets that one's header row, unless it repeats it."""
    if before is None or table.position != before.position or table.page != before.page + 1:
        return table
    if len(table.lefts) != len(before.lefts) or table.rows[0] == before.rows[0]:
        return table
    if any(abs(left - other) > _SAME_COLUMN for left, other in zip(table.lefts, before.lefts, strict=True)):
        return table
    return _Table(table.position, table.page, table.lefts, [before.rows[0], *table.rows])
