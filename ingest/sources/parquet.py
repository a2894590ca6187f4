"""Parquet: documents, and the row groups at which a large file can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.records import Document
from ingest.settings import MIB
from ingest.sources.corpus_rows import RowError, Rows
from serve_app.core.errors import DocumentError

SPAN_BYTES = 16 * MIB  # of decoded columns
_BATCH_ROWS = 64
_BUFFER_BYTES = MIB  # of a column, instead of its whole row group


def spans(stream: IO[bytes], name: str) -> list[tuple[int, int, int]]:
    """Ranges of row groups [start, stop), each with the number of its first row. Raises DocumentError: corrupt."""
    with _told(name):
        metadata = pq.read_metadata(stream)
    found = []
    start = size = 0
    first = row = 1
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        row += metadata.row_group(group).num_rows
        if size >= SPAN_BYTES or group == metadata.num_row_groups - 1:
            found.append((start, group + 1, first))
            start, size, first = group + 1, 0, row
    return found


def documents(stream: IO[bytes], rows: Rows) -> Iterator[Document | RowError]:
    """Raises DocumentError: corrupt, or no_text_column."""
    name = rows.file.source_file
    number = rows.file.first_row
    with _told(name):
        file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        columns = _columns(file.schema_arrow, rows)
    start, stop = rows.file.span or (0, file.metadata.num_row_groups)
    batches = file.iter_batches(_BATCH_ROWS, row_groups=list(range(start, stop)), columns=columns, use_threads=False)
    while True:
        with _told(name):
            batch = next(batches, None)
            if batch is None:
                return
            plain = _with_plain_times(batch)
        for row in _decoded(plain):
            yield rows.document(number, row) if row is not None else rows.error(number, "a value cannot be decoded")
            number += 1


def _decoded(batch: Any) -> list[dict[str, object] | None]:
    """Rows; None for one with text that is not UTF-8 or a date beyond Python's calendar."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        return [_decoded(batch.slice(index, 1))[0] for index in range(len(batch))] if len(batch) > 1 else [None]


def _columns(schema: Any, rows: Rows) -> list[str]:
    """Those that become text, id, title or metadata; nothing else is even read."""
    text = rows.settings.text_column
    if not any(field.name == text and _is_text(field.type) for field in schema):
        raise DocumentError(
            f"{rows.file.source_file} has no text column of the name in sources.text_column; set it to the one it has.",
            reason="no_text_column",
        )
    names = [field.name for field in schema if rows.is_read(field.name) or _is_flat(field)]
    return [name for name in names if rows.is_read(name) or rows.is_field(name)]


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_flat(field: Any) -> bool:
    kind = field.type
    checks = (
        _is_text,
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_date,
        pa.types.is_timestamp,
    )
    return any(check(kind) for check in checks)


def _with_plain_times(batch: Any) -> Any:
    """Timestamps in microseconds of UTC: Python has no finer ones, and zones need a database that may be missing."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type):
            fine = batch.column(index).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(index, field.name, fine.cast(pa.int64()).cast(pa.timestamp("us")))
    return batch


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        raise _corrupt(name) from error
    except OSError as error:
        if error.errno is not None:  # the stream's own trouble
            raise
        raise _corrupt(name) from error


def _corrupt(name: str) -> DocumentError:
    return DocumentError(f"{name} is not a valid Parquet file, or is encrypted.", reason="corrupt")
