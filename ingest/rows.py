"""The table that flows between the stages: one row a chunk, or one row for a file that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.records import Chunk
from serve_app.core.errors import DocumentError
from serve_app.core.types import TokenIds, Vectors

CHUNK_FIELDS: dict[str, pa.DataType] = {
    "key": pa.string(),
    "chunk_id": pa.string(),
    "format": pa.string(),
    "title": pa.string(),
    "heading_path": pa.list_(pa.string()),
    "page_number": pa.int32(),
    "page_end": pa.int32(),
    "ordinal": pa.int32(),
    "tokens": pa.int32(),
    "text": pa.string(),
}
CHUNKS = pa.schema(
    {
        "source": pa.string(),
        "source_file": pa.string(),
        "chunks_in_file": pa.int32(),
        "reason": pa.string(),  # set, with `message`, when the file could not be read; every later column is then null
        "message": pa.string(),
        **CHUNK_FIELDS,
        "ids": pa.list_(pa.int32()),
    }
)
VECTOR = "vector"
IS_STORED = "is_stored"


def chunk_table(chunks: Sequence[Chunk], ids: Sequence[TokenIds]) -> pa.Table:
    """The chunks of one file, with the token ids that will be embedded."""
    rows = [
        {
            "source": chunk.source,
            "source_file": chunk.source_file,
            "chunks_in_file": len(chunks),
            **{name: getattr(chunk, name) for name in CHUNK_FIELDS},
            "ids": token_ids,
        }
        for chunk, token_ids in zip(chunks, ids, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=CHUNKS)


def error_table(file_source: str, source_file: str, error: DocumentError) -> pa.Table:
    """The one row of a file that is left out."""
    row = {
        "source": file_source,
        "source_file": source_file,
        "chunks_in_file": 0,
        "reason": error.reason,
        "message": error.message,
    }
    return pa.Table.from_pylist([row], schema=CHUNKS)


def to_chunk(row: dict[str, Any]) -> Chunk:
    fields = {name: row[name] for name in CHUNK_FIELDS}
    fields["heading_path"] = tuple(row["heading_path"])
    return Chunk(source=row["source"], source_file=row["source_file"], **fields)


def vector_column(vectors: Vectors) -> pa.FixedSizeListArray:
    """(n, d) float32 → a column of n lists of d values, sharing the memory."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_of(table: pa.Table) -> Vectors:
    """The column back as (n, d) float32."""
    column = table.column(VECTOR).combine_chunks()
    vectors: Vectors = column.values.to_numpy().reshape(len(column), -1)
    return vectors
