"""A chunk as PostgreSQL stores it, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pgvector import Vector as PgVector
from psycopg import sql
from psycopg.types.json import Jsonb

from ingest.records import Metadata
from ingest.sinks.base import Hit, Row, Stored, Vector
from ingest.sinks.pgvector_connection import PgConnection
from ingest.sinks.pgvector_schema import COLUMNS, vector_type
from ingest.sinks.words import WordSplitter

PLACE_COLUMNS = (
    "key",
    "chunk_id",
    "source",
    "source_file",
    "page_number",
    "page_end",
    "heading_path",
    "language",
    "text",
)
HIT_COLUMNS = (*PLACE_COLUMNS, "metadata")
_NUMBER_BYTES = 64  # of a row, with what the driver adds
_STAGED = sql.Identifier("staged-rows")  # a name that no collection can have


def storable(text: str) -> str:
    """PostgreSQL has no NUL and no lone surrogates (bytes of a file name that are no UTF-8): both are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def values(row: Row, splitter: WordSplitter) -> tuple[Any, ...]:
    """In the order of `COLUMNS`, then the words and the vector."""
    chunk = row.chunk
    columns: dict[str, Any] = {
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
        "heading_path": [storable(title) for title in chunk.heading_path],
        "language": chunk.language,
        "file_hash": chunk.file_hash,
        "page_number": chunk.page_number,
        "page_end": chunk.page_end,
        "ordinal": chunk.ordinal,
        "tokens": chunk.tokens,
        "start": chunk.start,
        "end": chunk.end,
        "context": chunk.context,
        "text": chunk.text,
        "metadata": Jsonb(_storable_metadata(chunk.metadata)),
    }
    plain = (storable(value) if isinstance(value, str) else value for value in (columns[name] for name in COLUMNS))
    return *plain, storable(splitter.tsvector(chunk.text)), PgVector(row.vector)


def row_bytes(row: Row) -> int:
    """Roughly what a row takes on the wire."""
    chunk = row.chunk
    texts = (chunk.source, chunk.title, chunk.context, json.dumps(dict(chunk.metadata)), *chunk.heading_path)
    words = 3 * len(chunk.text)  # characters; most texts come twice, the second time as words with positions
    return sum(map(len, texts)) + words + len(chunk.text.encode("utf-8", "replace")) + row.vector.nbytes + _NUMBER_BYTES


def write(connection: PgConnection, collection: str, dimensions: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Replace or insert rows of distinct keys, whole."""
    names = [*COLUMNS, "words", "dense"]
    kinds = [*COLUMNS.values(), "text", "vector"]
    staged = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in zip(names, kinds, strict=True)
    )
    connection.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(_STAGED, staged))
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} FROM STDIN WITH (FORMAT BINARY)").format(_STAGED)) as copy,
    ):
        copy.set_types(kinds)
        for row in rows:
            copy.write_row(row)
    columns = [sql.Identifier(name) for name in names]
    statement = sql.SQL(
        # In the order of keys, so that two jobs that write the same ones wait for each other and never in a ring.
        "INSERT INTO {table} ({columns}) SELECT {plain}, words::tsvector, dense::{vector} FROM {staged} ORDER BY key "
        "ON CONFLICT (key) DO UPDATE SET {replaced}"
    )
    connection.execute(
        statement.format(
            table=sql.Identifier(collection),
            columns=sql.SQL(", ").join(columns),
            plain=sql.SQL(", ").join(columns[:-2]),
            vector=vector_type(dimensions),
            staged=_STAGED,
            replaced=sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(column) for column in columns[1:]),
        )
    )


def hit(columns: Mapping[str, Any]) -> Hit:
    return Hit(score=float(columns["score"]), metadata=columns["metadata"], **_place(columns))


def stored(columns: Mapping[str, Any]) -> Stored:
    return Stored(vector=to_vector(columns["dense"]) if "dense" in columns else None, **_place(columns))


def to_vector(value: PgVector) -> Vector:
    return np.array(value.to_numpy(), dtype=np.float32)


def _place(columns: Mapping[str, Any]) -> dict[str, Any]:
    place = {name: columns[name] for name in PLACE_COLUMNS}
    place["heading_path"] = tuple(place["heading_path"])
    return place


def _storable_metadata(metadata: Metadata) -> dict[str, Any]:
    return {storable(name): storable(value) if isinstance(value, str) else value for name, value in metadata.items()}
