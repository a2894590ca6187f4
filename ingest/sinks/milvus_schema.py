"""How a collection looks in Milvus, and what depends on the server's version.

The embedded Lite server and a real one differ in ways that are evened out here and in `milvus_rows`: a VARCHAR limit
counts characters in Lite and bytes on a server; only `{"tokenizer": "jieba"}` means the same analyzer to both; null
columns are not portable, so a missing page is stored as 0. Servers before 2.5 have no BM25, and those before 2.4
lose rows that are upserted under a partition key, so there the tenant is a plain column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymilvus import CollectionSchema, DataType, Function, FunctionType  # type: ignore[import-untyped]

from ingest.sinks.base import CollectionSpec

MAX_KEY_BYTES = 64
MAX_SHORT_BYTES = 256
MAX_VARCHAR_BYTES = 65_535
MAX_JSON_BYTES = 65_536
PARTITIONS = 16  # tenants share them by hash; every partition costs a server memory
SHORT_COLUMNS = ("tenant", "run_id", "digest", "file_hash", "language")
LONG_COLUMNS = (
    "chunk_id",
    "source",
    "source_file",
    "part",
    "format",
    "title",
    "section_title",
    "heading_path",
    "context",
)
INTEGER_COLUMNS = ("page_number", "page_end", "ordinal", "tokens", "start", "end")
VARCHAR_BYTES = {
    "key": MAX_KEY_BYTES,
    **dict.fromkeys(SHORT_COLUMNS, MAX_SHORT_BYTES),
    **dict.fromkeys((*LONG_COLUMNS, "text"), MAX_VARCHAR_BYTES),
}
DENSE_INDEX: dict[str, Any] = {
    "index_type": "HNSW",
    "metric_type": "COSINE",
    "params": {"M": 16, "efConstruction": 200},
}
SPARSE_INDEX = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"}
SOURCE_INDEX = {"index_type": "INVERTED"}  # a job asks for the chunks of every source

# What a collection was made for stands in its properties, because Lite forgets a description.
_MODEL, _DIMENSIONS, _FINGERPRINT = "embed.model", "embed.dimensions", "embed.fingerprint"
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class ServerAbilities:
    version: str  # as the server tells it
    has_bm25: bool = True
    has_partition_key: bool = True  # one that upserts keep
    has_scalar_index: bool = True

    @property
    def indexes(self) -> dict[str, dict[str, Any]]:
        """Field name → index parameters."""
        known = {"dense": DENSE_INDEX}
        known |= {"sparse": SPARSE_INDEX} if self.has_bm25 else {}
        return known | ({"source": SOURCE_INDEX} if self.has_scalar_index else {})


def abilities(version: str) -> ServerAbilities:
    """A version that cannot be read is taken for a new one."""
    number = _VERSION.search(version)
    if number is None or version.startswith("milvus_lite"):
        return ServerAbilities(version)
    release = int(number[1]), int(number[2])
    is_2_4 = release >= (2, 4)
    return ServerAbilities(version, has_bm25=release >= (2, 5), has_partition_key=is_2_4, has_scalar_index=is_2_4)


def collection_schema(dimensions: int, server: ServerAbilities) -> CollectionSchema:
    """`dense` holds the vector; `sparse` is filled by Milvus itself, from `text`, for BM25."""
    schema = CollectionSchema([], auto_id=False, enable_dynamic_field=False, check_fields=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=MAX_KEY_BYTES)
    for name in (*SHORT_COLUMNS, *LONG_COLUMNS):
        is_partition_key = name == "tenant" and server.has_partition_key
        schema.add_field(name, DataType.VARCHAR, max_length=VARCHAR_BYTES[name], is_partition_key=is_partition_key)
    for name in INTEGER_COLUMNS:
        schema.add_field(name, DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimensions)
    if server.has_bm25:
        analyzer = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "jieba"}}
        schema.add_field("text", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES, **analyzer)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(Function("bm25", FunctionType.BM25, ["text"], ["sparse"]))
    else:
        schema.add_field("text", DataType.VARCHAR, max_length=MAX_VARCHAR_BYTES)
    return schema


def properties_of(spec: CollectionSpec) -> dict[str, str]:
    return {_MODEL: spec.model, _DIMENSIONS: str(spec.dimensions), _FINGERPRINT: spec.fingerprint}


def spec_from(collection: str, properties: Mapping[str, str]) -> CollectionSpec | None:
    """None if the collection does not say what it was made for."""
    model, dimensions = properties.get(_MODEL), properties.get(_DIMENSIONS)
    if not model or not dimensions:
        return None
    return CollectionSpec(collection, int(dimensions), model, properties.get(_FINGERPRINT, ""))
