"""Tables as Markdown, the one form that chunks, readers and models share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.records import Block

MAX_SPAN = 100  # cells; a file that claims more is damaged or means to fill the memory


def table_blocks(rows: Sequence[Sequence[str]], page: int | None = None) -> Iterator[Block]:
    """The blocks of a grid of cells; the first row is the header.

    Empty rows and columns fall away. What is left of a table that only served layout (one row or one column) comes
    as lines of text.
    """
    grid = _trimmed(rows)
    if len(grid) > 1 and len(grid[0]) > 1:
        yield Block("table", _markdown(grid), page=page)
    elif grid:
        yield Block("text", "\n".join(cell for row in grid for cell in row if cell), page=page)


def _markdown(grid: list[list[str]]) -> str:
    header, *body = (f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in grid)
    rule = f"|{' --- |' * len(grid[0])}"
    return "\n".join((header, rule, *body))


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def _trimmed(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """A rectangle without empty rows and columns; cells are stripped."""
    cells = [stripped for row in rows if any(stripped := [cell.strip() for cell in row])]
    columns = max((len(row) for row in cells), default=0)
    used = [column for column in range(columns) if any(column < len(row) and row[column] for row in cells)]
    return [[row[column] if column < len(row) else "" for column in used] for row in cells]
