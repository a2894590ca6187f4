"""CSV and TSV: the delimiter is found, the first row is the header."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from itertools import islice

from ingest.parse.encoding import decode
from ingest.parse.parsed import Parsed
from ingest.parse.tables import CellLimit, long_table_blocks
from serve_app.core.errors import DocumentError

_DELIMITERS = ",\t;|"  # the first wins a tie
_SAMPLE_ROWS = 50
_MAX_FIELD = 1 << 20  # characters; beyond, a quote was never closed


def read(content: bytes) -> Parsed:
    """The title is left to the file's name. Raises DocumentError: wrong_format, corrupt or too_large."""
    text = decode(content)
    csv.field_size_limit(_MAX_FIELD)
    try:
        rows = CellLimit().counted(_rows(text, _delimiter(text)))
        return Parsed(None, tuple(long_table_blocks(rows)))
    except csv.Error as error:
        raise DocumentError("A field is longer than a million characters; close its quote.", "corrupt") from error


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    lines = StringIO(text, newline="")
    first = lines.readline()
    if not _names_delimiter(first):
        lines.seek(0)
    yield from csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _delimiter(text: str) -> str:
    """The one that divides most of the first rows into the same number of fields, the more fields the better.

    `csv.Sniffer` guesses from letter frequencies and takes letters and spaces for delimiters.
    """
    named = _names_delimiter(text.split("\n", 1)[0])
    if named is not None:
        return named
    return max(_DELIMITERS, key=lambda delimiter: _agreement(text, delimiter))


def _agreement(text: str, delimiter: str) -> tuple[float, int]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    widths = Counter(len(row) for row in islice(reader, _SAMPLE_ROWS) if row)
    width, rows = max(widths.items(), key=lambda item: item[1], default=(0, 0))
    return (rows / widths.total(), width) if width > 1 else (0.0, 0)


def _names_delimiter(line: str) -> str | None:
    """Excel's own hint, a first line of `sep=;`."""
    line = line.strip()
    return line[4:] if line.lower().startswith("sep=") and len(line) == 5 else None
