"""From the bytes of a file to its document: what it is, who reads it, and what all of them share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from pathlib import PurePosixPath

from ingest.parse.formats import actual_format
from ingest.parse.parsed import Parsed
from ingest.records import Document, Metadata
from ingest.settings import ParserName, ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

Adapter = Callable[[bytes, str, ParseSettings], Parsed]  # content, format, settings
_ADAPTERS: dict[ParserName, str] = {
    "builtin": "ingest.parse.builtin",
    "unstructured": "ingest.parse.unstructured_adapter",
    "docling": "ingest.parse.docling_adapter",
}
_MAX_TITLE = 300  # characters; a title is a name, and sinks bound their columns


def parse(file: SourceFile, content: bytes, settings: ParseSettings) -> Document:
    """Read one file's bytes into its blocks, in reading order; `format` is what the content is, not its name.

    Its metadata is the front matter of Markdown, whoever reads it; language and sidecars are left to others. Raises
    DocumentError with one of `ingest.parse.reasons`, and SetupError if the chosen parser is not installed. Not for
    several threads at once: PDFium is not thread-safe. Files from outside belong into a `GuardedParser`, which bounds
    time and memory.
    """
    if not content or content.isspace():
        raise DocumentError(f"{file.source_file} is empty.", reason="empty")
    if len(content) > settings.max_file_mib << 20:
        raise DocumentError(
            f"{file.source_file} has {len(content) >> 20} MiB; the limit is {settings.max_file_mib} (max_file_mib).",
            reason="too_large",
        )
    actual = actual_format(file.format, content)
    adapter: Adapter = import_module(_ADAPTERS[settings.parser]).read
    parsed = adapter(content, actual, settings)
    if not any(block.text.strip() for block in parsed.blocks):
        raise DocumentError(f"{file.source_file} holds no text; nothing to ingest.", reason="empty")
    title = (parsed.title or "").strip() or PurePosixPath(file.source_file).stem
    title = title if len(title) <= _MAX_TITLE else f"{title[:_MAX_TITLE]}…"
    digest = hashlib.sha256(content).hexdigest()
    metadata = _front_matter(content) if actual == "md" else {}
    return Document(file.uri, file.source_file, actual, title, parsed.blocks, file_hash=digest, metadata=metadata)


def _front_matter(content: bytes) -> Metadata:
    from ingest.metadata import split_front_matter
    from ingest.parse.encoding import decode

    return split_front_matter(decode(content))[0]
