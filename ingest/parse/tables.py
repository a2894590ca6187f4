"""Tables as Markdown, the one form that chunks, readers and models share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ingest.records import Block
from serve_app.core.errors import DocumentError

MAX_SPAN = 100  # cells; a file that claims more is damaged or means to fill the memory
MAX_CELLS = 2_000_000  # filled cells of one file: about a minute of reading, and well below the memory of one file
ROWS_PER_BLOCK = 500  # data rows; longer tables come as several blocks, each with the header row


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


def long_table_blocks(rows: Iterable[Sequence[str]]) -> Iterator[Block]:
    """Like `table_blocks`, for tables of any length: never more than one block's rows are held."""
    filled = (row for row in rows if any(cell.strip() for cell in row))
    header = next(filled, None)
    if header is None:
        return
    batch = list(islice(filled, ROWS_PER_BLOCK))
    yield from table_blocks([header, *batch])
    while batch := list(islice(filled, ROWS_PER_BLOCK)):
        yield from table_blocks([header, *batch])


class CellLimit:
    """Counts the filled cells of one file. Raises DocumentError(reason="too_large") above MAX_CELLS."""

    def __init__(self) -> None:
        self._cells = 0

    def counted(self, rows: Iterable[list[str]]) -> Iterator[list[str]]:
        """The rows, as long as there are not too many cells in them."""
        for row in rows:
            self._cells += sum(map(bool, row))
            if self._cells > MAX_CELLS:
                raise DocumentError(
                    f"The file holds more than {MAX_CELLS:,} filled cells; divide it, or ingest its rows as JSONL or "
                    "Parquet with a text column.",
                    reason="too_large",
                )
            yield row


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
