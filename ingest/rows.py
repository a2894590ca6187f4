"""The table that flows between the stages: a row for every chunk, every problem, and the end of every unit of work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.records import Chunk
from serve_app.core.types import TokenIds, Vectors

CHUNK, PROBLEM, END = "chunk", "problem", "end"
CHUNK_COLUMNS = {
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
    "context": pa.string(),
    "start": pa.int64(),
    "end": pa.int64(),
    "part": pa.string(),
    "language": pa.string(),
    "file_hash": pa.string(),
    "metadata": pa.string(),  # JSON
}
COLUMNS = pa.schema(
    {
        "kind": pa.string(),
        "source": pa.string(),
        "source_file": pa.string(),
        "stage": pa.string(),  # of a problem, like the two below
        "reason": pa.string(),
        "message": pa.string(),
        "chunks": pa.int32(),  # of an end, like the two below: what the unit came to
        "problems": pa.int32(),
        "pii": pa.string(),  # JSON, findings by entity
        **CHUNK_COLUMNS,
        "digest": pa.string(),
        "ids": pa.list_(pa.int32()),
    }
)
VECTOR, FATE = "vector", "fate"
EMBEDDED, REWRITTEN, KEPT, FAILED = "embedded", "rewritten", "kept", "failed"  # the fates of a chunk


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=COLUMNS)


def chunk_row(chunk: Chunk, ids: TokenIds, digest: str) -> dict[str, Any]:
    columns = {name: getattr(chunk, name) for name in CHUNK_COLUMNS}
    columns["metadata"] = json.dumps(dict(chunk.metadata), ensure_ascii=False)
    return {
        "kind": CHUNK,
        "source": chunk.source,
        "source_file": chunk.source_file,
        **columns,
        "digest": digest,
        "ids": ids,
    }


def to_chunk(row: Mapping[str, Any]) -> Chunk:
    columns = {name: row[name] for name in CHUNK_COLUMNS}
    columns["heading_path"] = tuple(row["heading_path"])
    columns["metadata"] = json.loads(row["metadata"])
    return Chunk(source=row["source"], source_file=row["source_file"], **columns)


def vector_column(vectors: Vectors) -> pa.FixedSizeListArray:
    """(n, d) float32 → a column of n lists of d values, sharing the memory."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def vectors_of(table: pa.Table) -> Vectors:
    """The column back as (n, d) float32."""
    column = table.column(VECTOR).combine_chunks()
    vectors: Vectors = column.values.to_numpy().reshape(len(column), -1)
    return vectors
