"""A chunk as Milvus stores it, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ingest.sinks.base import Hit, Row, Stored
from ingest.sinks.milvus_schema import INTEGER_COLUMNS, MAX_JSON_BYTES, VARCHAR_BYTES
from serve_app.core.errors import SetupError

NO_PAGE = 0  # real pages count from 1
PLACE_COLUMNS = (
    "key",
    "chunk_id",
    "source",
    "source_file",
    "page_number",
    "page_end",
    "heading_path",
    "text",
    "language",
)
HIT_COLUMNS = [*PLACE_COLUMNS, "metadata"]
_INTEGER_BYTES = 8

Entity = dict[str, Any]  # one row as the driver takes it: column name → str, int, dict or (dimensions,) float32


def entity(row: Row) -> Entity:
    """Raises SetupError if a column is longer than Milvus can hold: nothing is cut in silence."""
    chunk = row.chunk
    columns: Entity = {
        "key": chunk.key,
        "tenant": row.tenant,
        "run_id": row.run_id,
        "digest": row.digest,
        "chunk_id": chunk.chunk_id,
        "source": chunk.source,
        "source_file": chunk.source_file,
        "part": chunk.part,
        "format": chunk.format,
        "title": chunk.title,
        "section_title": chunk.section_title,
        "heading_path": headings_value(chunk.heading_path),
        "language": chunk.language,
        "file_hash": chunk.file_hash,
        "context": chunk.context,
        "text": chunk.text,
        "page_number": chunk.page_number or NO_PAGE,
        "page_end": chunk.page_end or NO_PAGE,
        "ordinal": chunk.ordinal,
        "tokens": chunk.tokens,
        "start": chunk.start,
        "end": chunk.end,
    }
    columns = {name: utf8(value) if isinstance(value, str) else value for name, value in columns.items()}
    columns["metadata"] = {
        utf8(name): utf8(value) if isinstance(value, str) else value for name, value in chunk.metadata.items()
    }
    columns["dense"] = row.vector
    _check_lengths(columns)
    return columns


def entity_bytes(columns: Entity) -> int:
    """Roughly what a row takes in a request."""
    text_bytes = sum(len(columns[name].encode()) for name in VARCHAR_BYTES)
    return text_bytes + _json_bytes(columns) + _INTEGER_BYTES * len(INTEGER_COLUMNS) + int(columns["dense"].nbytes)


def hit(score: float, columns: Mapping[str, Any]) -> Hit:
    return Hit(score=float(score), metadata=dict(columns["metadata"] or {}), **_place(columns))


def stored(columns: Mapping[str, Any]) -> Stored:
    vector = np.asarray(columns["dense"], dtype=np.float32) if "dense" in columns else None
    return Stored(vector=vector, **_place(columns))


def headings_value(headings: Sequence[str]) -> str:
    """A heading path as its column holds it."""
    return json.dumps(headings, ensure_ascii=False)


def utf8(text: str) -> str:
    """File names on Linux may hold bytes that are no UTF-8 (lone surrogates here): \\udcb2 is stored spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _place(columns: Mapping[str, Any]) -> dict[str, Any]:
    place = {name: columns[name] for name in PLACE_COLUMNS}
    for name in ("page_number", "page_end"):
        place[name] = None if place[name] == NO_PAGE else place[name]
    place["heading_path"] = tuple(json.loads(place["heading_path"]))
    return place


def _check_lengths(columns: Entity) -> None:
    lengths = {name: len(columns[name].encode()) for name in VARCHAR_BYTES} | {"metadata": _json_bytes(columns)}
    for name, limit in {**VARCHAR_BYTES, "metadata": MAX_JSON_BYTES}.items():
        if lengths[name] > limit:
            raise SetupError(
                f"`{name}` of chunk {columns['chunk_id']} has {lengths[name]} bytes and Milvus stores at most "
                f"{limit}: ingest with smaller chunks or less metadata."
            )


def _json_bytes(columns: Entity) -> int:
    return len(json.dumps(columns["metadata"], ensure_ascii=False).encode())
