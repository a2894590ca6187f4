"""Collections of a Milvus server: made, indexed, and made fast to search.

Every function may raise the driver's errors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pymilvus import MilvusException  # type: ignore[import-untyped]
from pymilvus.milvus_client import IndexParams  # type: ignore[import-untyped]

from ingest.sinks.base import CollectionSpec
from ingest.sinks.milvus_connection import MilvusConnection
from ingest.sinks.milvus_schema import PARTITIONS, collection_schema, properties_of, spec_from

INDEX_TIMEOUT_S = 600.0  # searches are right before that, only slower
POLL_S = 0.5


def exists(milvus: MilvusConnection, collection: str) -> bool:
    """True for an alias as well."""
    return bool(milvus.client.has_collection(collection, timeout=milvus.timeout_s))


def made_for(milvus: MilvusConnection, collection: str) -> CollectionSpec | None:
    if not exists(milvus, collection):
        return None
    described = milvus.client.describe_collection(collection, timeout=milvus.timeout_s)
    return spec_from(collection, described.get("properties", {}))


def create(milvus: MilvusConnection, spec: CollectionSpec) -> None:
    """Nothing happens if it exists."""
    _make(partial(exists, milvus, spec.name), partial(_create, milvus, spec))


def index(milvus: MilvusConnection, collection: str) -> None:
    """Make the indexes that are missing: a job that died in the middle of creation has left none."""
    for field, params in milvus.server.indexes.items():
        _make(partial(_is_indexed, milvus, collection, field), partial(_index, milvus, collection, field, params))


def flush(milvus: MilvusConnection, collection: str) -> None:
    """Seal what is growing, as only that gets an index, and wait for it, at most `INDEX_TIMEOUT_S`."""
    deadline = time.monotonic() + INDEX_TIMEOUT_S
    milvus.client.flush(collection, timeout=INDEX_TIMEOUT_S)
    while time.monotonic() < deadline and _rows_without_index(milvus, collection):
        time.sleep(POLL_S)


def _create(milvus: MilvusConnection, spec: CollectionSpec) -> None:
    partitions = {"num_partitions": PARTITIONS} if milvus.server.has_partition_key else {}
    milvus.client.create_collection(
        spec.name,
        schema=collection_schema(spec.dimensions, milvus.server),
        properties=properties_of(spec),
        consistency_level="Strong",  # also for iterators, which do not heed the level that a call asks for
        timeout=milvus.timeout_s,
        **partitions,
    )


def _is_indexed(milvus: MilvusConnection, collection: str, field: str) -> bool:
    return bool(milvus.client.list_indexes(collection, field, timeout=milvus.timeout_s))


def _index(milvus: MilvusConnection, collection: str, field: str, params: dict[str, Any]) -> None:
    indexes = IndexParams()
    indexes.add_index(field, **params)
    milvus.client.create_index(collection, indexes, sync=False, timeout=milvus.timeout_s)


def _rows_without_index(milvus: MilvusConnection, collection: str) -> int:
    told = milvus.client.describe_index(collection, "dense", timeout=milvus.timeout_s) or {}
    return int(told.get("pending_index_rows", 0))


def _make(is_there: Callable[[], bool], make: Callable[[], None]) -> None:
    """Make it unless it is there, or another process makes it in the same moment."""
    if is_there():
        return
    try:
        make()
    except MilvusException:
        if not is_there():
            raise
