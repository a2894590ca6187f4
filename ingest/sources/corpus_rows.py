"""A row of a ready-made corpus, whatever it was stored in → a document, or the reason why not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import PurePosixPath

from ingest.filters import FIELDS
from ingest.metadata import MAX_FIELDS, MAX_VALUE_BYTES
from ingest.records import Block, Document, Scalar
from ingest.settings import MIB, SourceSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

RowError = tuple[str, DocumentError]  # the row's part, as the document would have had it
MAX_ROW_BYTES = 16 * MIB
_MAX_ID_CHARACTERS = 256
_MAX_TITLE_CHARACTERS = 300
_LANGUAGE = "language"  # a column of this name fills the document's own field
_LANGUAGE_CODE = re.compile(r"[a-z]{2}")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_BLANK_LINES = re.compile(r"\n\s*\n")
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Rows:
    """Turns the rows of one file into documents. Messages name a row by its number, never by what it holds."""

    file: SourceFile
    settings: SourceSettings

    def document(self, number: int, row: Mapping[str, object]) -> Document | RowError:
        """`number` counts from 1. Columns that can be no metadata are left out: nested, long, badly named."""
        part = self._part(number, row)
        if part is None:
            return self.error(number, f"the id column is missing, or no text or integer of ≤ {_MAX_ID_CHARACTERS}")
        text = row.get(self.settings.text_column)
        if not isinstance(text, str):
            return self.error(number, "the text column (sources.text_column) is missing, or no text", part)
        if len(text) > MAX_ROW_BYTES:
            return self.too_long(number, part)
        blocks = tuple(Block("text", paragraph) for paragraph in _paragraphs(text))
        if not blocks:
            return self.error(number, "the text is empty", part)
        return Document(
            source=self.file.uri,
            source_file=self.file.source_file,
            format=self.file.format,
            title=self._title(row),
            blocks=blocks,
            part=part,
            language=_language(row.get(_LANGUAGE)),
            metadata=self._metadata(row),
        )

    def error(self, number: int, problem: str, part: str | None = None) -> RowError:
        message = f"{self.file.source_file}, row {number}: {problem}."
        return part or str(number), DocumentError(message, reason="bad_row")

    def too_long(self, number: int, part: str | None = None) -> RowError:
        return self.error(number, f"it is longer than {MAX_ROW_BYTES // MIB} MiB; split it into several rows", part)

    def _part(self, number: int, row: Mapping[str, object]) -> str | None:
        if self.settings.id_column is None:
            return str(number)
        value = row.get(self.settings.id_column)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        part = _clean(str(value))
        return part if 0 < len(part) <= _MAX_ID_CHARACTERS else None

    def _title(self, row: Mapping[str, object]) -> str:
        named = row.get(self.settings.title_column) if self.settings.title_column is not None else None
        title = _clean(named) if isinstance(named, str) else ""
        title = title or PurePosixPath(self.file.source_file).stem
        return title if len(title) <= _MAX_TITLE_CHARACTERS else f"{title[:_MAX_TITLE_CHARACTERS]}…"

    def _metadata(self, row: Mapping[str, object]) -> dict[str, Scalar]:
        fields: dict[str, Scalar] = {}
        for name, value in row.items():
            scalar = _scalar(value) if self.is_field(name) else None
            if scalar is not None and len(fields) < MAX_FIELDS:
                fields[name] = scalar
        return fields

    def is_field(self, name: str) -> bool:
        """Whether a column of this name can be metadata."""
        taken = (self.settings.text_column, self.settings.id_column, self.settings.title_column)
        return name not in taken and name not in FIELDS and _FIELD_NAME.fullmatch(name) is not None

    def is_read(self, name: str) -> bool:
        """Whether a column of this name can be anything but metadata."""
        settings = self.settings
        return name in (settings.text_column, settings.id_column, settings.title_column, _LANGUAGE)


def _paragraphs(text: str) -> list[str]:
    lines = text.replace("\x00", "").replace("\r\n", "\n")
    return [paragraph for paragraph in (part.strip() for part in _BLANK_LINES.split(lines)) if paragraph]


def _clean(text: str) -> str:
    """On one line, without the character that PostgreSQL cannot store."""
    return " ".join(text.replace("\x00", "").split())


def _language(value: object) -> str:
    return value if isinstance(value, str) and _LANGUAGE_CODE.fullmatch(value) else ""


def _scalar(value: object) -> Scalar | None:
    """None for what no store can filter by."""
    if isinstance(value, str):
        text = value.replace("\x00", "")
        return text if len(text.encode()) <= MAX_VALUE_BYTES else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else None
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else None
