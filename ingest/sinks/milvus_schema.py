"""How a chunk looks in Milvus: the collection's schema, its rows, and filters in Milvus's expression language.

The embedded Lite server and a real one differ in ways that are evened out here: a VARCHAR limit counts characters in
Lite and bytes on a server; only `{"tokenizer": "jieba"}` means the same analyzer to both; null columns are not
portable, so a missing page is stored as 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymilvus import (  # type: ignore[import-untyped]
    CollectionSchema,
    DataType,
    Function,
    FunctionType,
)

from ingest.filters import Condition
from ingest.sinks.base import Hit, Row
from serve_app.core.errors import SetupError

MAX_KEY_BYTES = 64
MAX_VARCHAR_BYTES = 65_535
HIT_FIELDS = ["key", "chunk_id", "source_file", "page_number", "heading_path", "text"]
KEYS_A_CLAUSE = 1_000
INDEXES: dict[str, dict[str, Any]] = {
    "dense": {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 200}},
    "sparse": {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"},
}

# Beside key and text:
_VARCHARS = ("chunk_id", "source", "source_file", "format", "title", "section_title", "heading_path")
_INTEGERS = ("page_number", "page_end", "ordinal", "tokens")
_NO_PAGE = 0  # real pages count from 1
_INTEGER_BYTES = 8

Entity = dict[str, Any]  # one row as the driver takes it: column name → str, int or (dimensions,) float32


def collection_schema(dimensions: int) -> CollectionSchema:
    """`dense` holds the vector; `sparse` is filled by Milvus itself, from `text`, for BM25."""
    schema = CollectionSchema([], auto_id=False, enable_dynamic_field=False, check_fields=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=MAX_KEY_BYTES)
    for name in _VARCHARS:
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    for name in _INTEGERS:
        schema.add_field(name, DataType.INT64)
    analyzer = {"max_length": MAX_VARCHAR_BYTES, "enable_analyzer": True, "analyzer_params": {"tokenizer": "jieba"}}
    schema.add_field("text", DataType.VARCHAR, **analyzer)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimensions)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    return schema


def entity(row: Row) -> Entity:
    """Raises SetupError if a column is longer than Milvus can hold: nothing is cut in silence."""
    chunk = row.chunk
    columns: Entity = {
        "key": chunk.key,
        "chunk_id": _utf8(chunk.chunk_id),
        "source": _utf8(chunk.source),
        "source_file": _utf8(chunk.source_file),
        "format": _utf8(chunk.format),
        "title": _utf8(chunk.title),
        "section_title": _utf8(chunk.section_title),
        "heading_path": _utf8(json.dumps(chunk.heading_path, ensure_ascii=False)),
        "page_number": chunk.page_number or _NO_PAGE,
        "page_end": chunk.page_end or _NO_PAGE,
        "ordinal": chunk.ordinal,
        "tokens": chunk.tokens,
        "text": _utf8(chunk.text),
        "dense": row.vector,
    }
    for name in ("key", *_VARCHARS, "text"):
        limit = MAX_KEY_BYTES if name == "key" else MAX_VARCHAR_BYTES
        length = len(columns[name].encode())
        if length > limit:
            raise SetupError(
                f"`{name}` of chunk {chunk.chunk_id} has {length} bytes and Milvus stores at most {limit}: "
                "ingest with smaller chunks."
            )
    return columns


def entity_bytes(columns: Entity) -> int:
    """Roughly what a row takes in a request."""
    text_bytes = sum(len(columns[name].encode()) for name in ("key", *_VARCHARS, "text"))
    return text_bytes + _INTEGER_BYTES * len(_INTEGERS) + int(columns["dense"].nbytes)


def hit(score: float, columns: Mapping[str, Any]) -> Hit:
    return Hit(
        score=float(score),
        key=columns["key"],
        chunk_id=columns["chunk_id"],
        source_file=columns["source_file"],
        page_number=None if columns["page_number"] == _NO_PAGE else columns["page_number"],
        heading_path=tuple(json.loads(columns["heading_path"])),
        text=columns["text"],
    )


def filter_clause(conditions: Sequence[Condition]) -> str:
    """A boolean expression that only holds values as escaped literals; "" if there are no conditions."""
    return " and ".join(_clause(condition) for condition in conditions)


def source_clause(source: str) -> str:
    """The expression that selects every chunk of one document."""
    return f"source == {_literal(source)}"


def key_clauses(keys: Sequence[str]) -> Iterator[str]:
    """Expressions that together select every key once."""
    for start in range(0, len(keys), KEYS_A_CLAUSE):
        yield f"key in [{', '.join(_literal(key) for key in keys[start : start + KEYS_A_CLAUSE])}]"


def _clause(condition: Condition) -> str:
    operator = "==" if condition.op == "=" else condition.op
    clause = f"{condition.field} {operator} {_literal(condition.value)}"
    return f"{clause} and page_number > {_NO_PAGE}" if condition.field == "page_number" else clause


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else f'"{_utf8(value).translate(_ESCAPES)}"'


def _utf8(text: str) -> str:
    """File names on Linux may hold bytes that are no UTF-8 (lone surrogates here): \\udcb2 is stored spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
