"""Excel workbooks: a heading and a table for each visible sheet."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time
from io import BytesIO
from itertools import chain
from typing import Any

from openpyxl.reader.excel import ExcelReader
from openpyxl.utils.exceptions import InvalidFileException

from ingest.parse.archives import DAMAGE, corrupt, opened
from ingest.parse.parsed import Parsed
from ingest.parse.tables import CellLimit, long_table_blocks
from ingest.records import Block


def read(content: bytes) -> Parsed:
    """The title is left to the file's name: a sheet's name says less.

    Raises DocumentError: corrupt, encrypted, zip_bomb, or too_large (more than MAX_CELLS filled cells).
    """
    archive = opened(content)
    limit = CellLimit()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about styles and extensions that hold no text
            reader = _Reader(archive, read_only=True, data_only=True)
            reader.read()
            with closing(reader.wb) as workbook:
                blocks = [block for sheet in workbook.worksheets for block in _sheet_blocks(sheet, limit)]
    except (InvalidFileException, *DAMAGE) as error:
        raise corrupt() from error
    return Parsed(None, tuple(blocks))


class _Reader(ExcelReader):  # type: ignore[misc]
    """Reads no sheet before its rows are asked for.

    openpyxl looks for each sheet's size first. Where none stands, it reads the sheet to its end for it, whatever may
    be read of a file; where a wrong one stands, it would stop too early.
    """

    def read_worksheets(self) -> None:
        self.wb._archive = _WithoutSizes()
        super().read_worksheets()
        self.wb._archive = self.archive


class _WithoutSizes:
    def open(self, _: str) -> BytesIO:
        return BytesIO(b"<worksheet/>")


def _sheet_blocks(sheet: Any, limit: CellLimit) -> Iterator[Block]:
    """A sheet's name, its captions and its table; nothing for a sheet without cells."""
    if sheet.sheet_state != "visible":
        return  # nobody who opens the workbook sees it
    rows = limit.counted([_shown(cell) for cell in row] for row in sheet.iter_rows())
    has_begun = False
    for block in _captions_and_table(row for row in rows if any(row)):
        if not has_begun:
            yield Block("heading", sheet.title.strip(), level=1)
            has_begun = True
        yield block


def _captions_and_table(rows: Iterator[list[str]]) -> Iterator[Block]:
    """Lines with a single cell above the first wider row are captions, not the header row."""
    for row in rows:
        if sum(map(bool, row)) > 1:
            yield from long_table_blocks(chain([row], rows))
        else:
            yield Block("text", "".join(row))


def _shown(cell: Any) -> str:
    """A cell's value as a reader knows it: ISO dates, percentages, no trailing `.0`; error codes are left out."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float | int) and "%" in (cell.number_format or ""):
        return f"{value * 100:.12g}%"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.15g}"
    return str(value).strip()
