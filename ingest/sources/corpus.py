"""Ready-made corpora, JSONL and Parquet: one document a row, read as a stream, in parts that can run side by side."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ingest.records import Document
from ingest.settings import MIB, SourceSettings
from ingest.sources import jsonl, parquet
from ingest.sources.allowed import is_url
from ingest.sources.base import SourceFile
from ingest.sources.corpus_rows import RowError, Rows
from ingest.sources.read import open_local
from serve_app.core.errors import DocumentError

CORPUS_FORMATS = frozenset({"jsonl", "parquet"})
WHOLE_BYTES = 32 * MIB  # smaller files stay in one piece
MAX_DOWNLOAD_BYTES = 16 * 1024 * MIB  # of one corpus behind http(s), on the temporary folder's disk


def split(file: SourceFile) -> list[SourceFile]:
    """The file in parts of about 16 MiB, in order: JSONL cut between lines, Parquet between row groups.

    Files that are no corpus, small ones and those behind http(s) stay whole, and so does one that cannot be read:
    reading it will say why. Numbering the rows needs one pass over JSONL, 1 MiB at a time.
    """
    is_large = file.size is not None and file.size > WHOLE_BYTES
    if file.format not in CORPUS_FORMATS or not is_large or _is_web(file.path) or file.span is not None:
        return [file]
    try:
        with _open(file, SourceSettings()) as stream:
            spans = jsonl.spans(stream) if file.format == "jsonl" else parquet.spans(stream, file.source_file)
    except DocumentError:
        return [file]
    if len(spans) <= 1:
        return [file]
    return [dataclasses.replace(file, span=(start, stop), first_row=row) for start, stop, row in spans]


def read_documents(file: SourceFile, settings: SourceSettings) -> Iterator[Document | RowError]:
    """One document a row, or the row's part and what is wrong with it; only a few rows are in memory at a time.

    Raises DocumentError for the file as a whole: missing, unreadable, refused, too_large, empty, corrupt or
    no_text_column.
    """
    rows = Rows(file, settings)
    read = jsonl.documents if file.format == "jsonl" else parquet.documents
    is_empty = file.span is None
    if file.size != 0:
        with _open(file, settings) as stream:
            for document in read(stream, rows):
                is_empty = False
                yield document
    if is_empty:
        raise DocumentError(f"{file.source_file} holds no rows.", reason="empty")


@contextmanager
def _open(file: SourceFile, settings: SourceSettings) -> Iterator[IO[bytes]]:
    """A seekable stream."""
    if not is_url(file.path):
        with open_local(file.path, file.source_file, settings) as local:
            yield local
    elif _is_web(file.path):
        with tempfile.TemporaryFile() as copy:
            _download(file, settings, copy)
            yield copy
    else:
        from ingest.sources.bucket import open_object

        with open_object(file.path, file.source_file, settings) as stored:
            yield stored


def _download(file: SourceFile, settings: SourceSettings, copy: IO[bytes]) -> None:
    """A server would not wait while the job takes its time, and Parquet is read from its end."""
    from ingest.sources.web import get

    name = file.source_file
    with get(file.path, name, settings) as answer:
        for chunk in answer.chunks:
            if copy.tell() + len(chunk) > MAX_DOWNLOAD_BYTES:
                raise DocumentError(
                    f"{name} is larger than {MAX_DOWNLOAD_BYTES // MIB} MiB; download it and give the file.",
                    reason="too_large",
                )
            _write(copy, chunk, name)
    copy.seek(0)


def _write(copy: IO[bytes], chunk: bytes, name: str) -> None:
    try:
        copy.write(chunk)
    except OSError as error:
        raise DocumentError(
            f"{name} cannot be kept in the temporary folder: {error.strerror}.", reason="unreadable"
        ) from error


def _is_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))
