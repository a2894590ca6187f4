"""Which module reads which format, and what can go wrong before it starts."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ingest.discover import SourceFile
from ingest.parse.parsed import Parser
from ingest.records import Document
from serve_app.core.errors import DocumentError

_PARSERS = {
    "txt": "ingest.parse.text",
    "md": "ingest.parse.markdown",
    "html": "ingest.parse.html",
    "pdf": "ingest.parse.pdf",
    "docx": "ingest.parse.docx",
    "xlsx": "ingest.parse.xlsx",
}
_MAX_TITLE = 300  # characters; a title is a name, and sinks bound their columns


def parse(file: SourceFile) -> Document:
    """Read one file into its blocks, in reading order.

    Raises DocumentError with a `reason`: missing, unreadable, empty, binary, corrupt, encrypted, too_large or
    needs_ocr. Not for several threads at once: PDFium is not thread-safe.
    """
    parser: Parser = import_module(_PARSERS[file.format]).read
    parsed = parser(_content(file))
    if not parsed.blocks:
        raise DocumentError(f"{file.source_file} holds no text; nothing to ingest.", reason="empty")
    title = parsed.title or Path(file.source_file).stem
    title = title if len(title) <= _MAX_TITLE else f"{title[:_MAX_TITLE]}…"
    return Document(file.source, file.source_file, file.format, title, parsed.blocks)


def _content(file: SourceFile) -> bytes:
    try:
        content = Path(file.path).read_bytes()
    except FileNotFoundError as error:
        raise DocumentError(f"{file.source_file} is gone since the run started.", reason="missing") from error
    except OSError as error:
        raise DocumentError(f"{file.source_file} cannot be read: {error.strerror}.", reason="unreadable") from error
    if not content or content.isspace():
        raise DocumentError(f"{file.source_file} is empty.", reason="empty")
    return content
