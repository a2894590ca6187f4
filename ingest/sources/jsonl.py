"""JSON lines: documents, and the places where a large file can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import orjson

from ingest.records import Document
from ingest.settings import MIB
from ingest.sources.corpus_rows import MAX_ROW_BYTES, RowError, Rows

SPAN_BYTES = 16 * MIB
_BLOCK_BYTES = MIB
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def spans(stream: IO[bytes]) -> list[tuple[int, int, int]]:
    """Byte ranges [start, stop) that end behind a line, each with the number of its first row."""
    found = []
    start = offset = 0
    first = row = 1
    for block in iter(lambda: stream.read(_BLOCK_BYTES), b""):
        is_full = offset + len(block) - start >= SPAN_BYTES
        cut = block.rfind(b"\n") + 1 if is_full else 0  # 0 where the block lies within one line
        if cut:
            row += block.count(b"\n", 0, cut)
            found.append((start, offset + cut, first))
            start, first = offset + cut, row
        row += block.count(b"\n", cut)
        offset += len(block)
    if start < offset:
        found.append((start, offset, first))
    return found


def documents(stream: IO[bytes], rows: Rows) -> Iterator[Document | RowError]:
    """Blank lines are passed over, but count as rows: numbers are those an editor shows."""
    for number, line in enumerate(_lines(_blocks(stream, rows.file.span)), start=rows.file.first_row):
        content = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if len(content) > MAX_ROW_BYTES:
            yield rows.too_long(number)
        elif content and not content.isspace():
            yield _document(content, number, rows)


def _document(line: bytes, number: int, rows: Rows) -> Document | RowError:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return rows.error(number, "the line is not valid JSON in UTF-8")
    if not isinstance(row, dict):
        return rows.error(number, "the line is not a JSON object")
    return rows.document(number, row)


def _blocks(stream: IO[bytes], span: tuple[int, int] | None) -> Iterator[bytes]:
    start, stop = span or (0, None)
    position = stream.seek(start)
    while stop is None or position < stop:
        block = stream.read(_BLOCK_BYTES if stop is None else min(_BLOCK_BYTES, stop - position))
        if not block:
            return
        position += len(block)
        yield block


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends; of one longer than MAX_ROW_BYTES only so much that it is seen to be."""
    pending = b""
    for block in blocks:
        *whole, rest = (pending + block).split(b"\n")
        yield from whole
        pending = rest[: MAX_ROW_BYTES + 1]
    yield pending
