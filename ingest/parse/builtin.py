"""The parser that comes with the product: one module a format, none imported before a file of its format arrives."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from ingest.parse.formats import actual_format
from ingest.parse.parsed import Parsed, Parser
from ingest.settings import ParseSettings
from ingest.sources.formats import format_of

if TYPE_CHECKING:
    from ingest.parse.ocr import PageReader

_MODULES = {
    "txt": "ingest.parse.text",
    "md": "ingest.parse.markdown",
    "html": "ingest.parse.html",
    "docx": "ingest.parse.docx",
    "xlsx": "ingest.parse.xlsx",
    "pptx": "ingest.parse.pptx",
    "csv": "ingest.parse.delimited",
    "tsv": "ingest.parse.delimited",
}
_MAX_DEPTH = 3  # mails within mails


def read(content: bytes, format_: str, settings: ParseSettings) -> Parsed:
    """Raises DocumentError with one of `ingest.parse.reasons`."""
    return _read(content, format_, settings, depth=0)


def _read(content: bytes, format_: str, settings: ParseSettings, depth: int) -> Parsed:
    if format_ == "pdf":
        from ingest.parse import pdf

        return pdf.read(content, _page_reader(settings) if settings.ocr else None)
    if format_ == "eml":
        from ingest.parse import mail

        inner = partial(_read_attachment, settings=settings, depth=depth + 1)
        return mail.read(content, inner if depth < _MAX_DEPTH else None)
    parser: Parser = import_module(_MODULES[format_]).read
    return parser(content)


def _page_reader(settings: ParseSettings) -> PageReader:
    from ingest.parse.ocr import PageReader

    return PageReader(settings.ocr_languages, settings.timeout_s)


def _read_attachment(content: bytes, name: str, settings: ParseSettings, depth: int) -> Parsed:
    """The format is the one that the name ends in, unless the content says otherwise."""
    named = format_of(name) or ""
    return _read(content, actual_format(named, content), settings, depth)
