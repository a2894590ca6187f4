"""Milvus behind the sink port: the embedded Lite server and a real one, through the same driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ingest.sinks import milvus_aliases, milvus_collections, milvus_search
from ingest.sinks.base import CollectionSpec, Hit, Query, Row, Stored, Vector
from ingest.sinks.collection_rules import check_name, check_spec, is_alias, missing
from ingest.sinks.milvus_connection import MilvusConnection
from ingest.sinks.milvus_filter import key_clauses, source_clause
from ingest.sinks.milvus_rows import PLACE_COLUMNS, entity, entity_bytes, stored
from serve_app.core.packing import pack

MAX_BATCH_BYTES = 8 * 2**20  # a server refuses requests above 64 MB; small ones also keep its memory flat
MAX_BATCH_ROWS = 1_000
MAX_ANSWER = 16_384  # rows that Milvus gives in one answer
VECTORS_A_CLAUSE = 256  # 4 MiB of 4,096 dimensions
MAX_NAME = 255


class MilvusSink:
    """A `VectorSink` on one connection, which several threads may use.

    Reads are strong: they see every write that was acknowledged before them, for which a server lets them wait until
    its clock ticks, five times a second. A search does so only if this sink has itself written.
    """

    def __init__(self, uri: str, timeout_s: float = 60.0, place: str = "") -> None:
        """Connect to `http://host:port`, which messages call `place`, or by its address.

        `timeout_s` bounds every call together with the driver's own retries.
        """
        self._milvus = MilvusConnection(uri, timeout_s, place)
        self._client = self._milvus.client
        self._call: dict[str, Any] = {"timeout": timeout_s}
        self._read: dict[str, Any] = {"timeout": timeout_s, "consistency_level": "Strong"}
        self._loaded: set[str] = set()
        self._has_written = False

    def ensure(self, spec: CollectionSpec) -> None:
        check_name(spec.name, "Milvus", MAX_NAME)
        with self._milvus.errors():
            milvus_collections.create(self._milvus, spec)
            self._refuse_alias(spec.name)
            check_spec(spec, milvus_collections.made_for(self._milvus, spec.name))
            milvus_collections.index(self._milvus, spec.name)
            self._client.load_collection(spec.name, **self._call)
        self._loaded.add(spec.name)

    def spec_of(self, collection: str) -> CollectionSpec | None:
        with self._milvus.errors():
            return milvus_collections.made_for(self._milvus, collection)

    def existing(self, collection: str, keys: Sequence[str]) -> dict[str, str]:
        columns = self._query(collection, keys, MAX_BATCH_ROWS, ["key", "digest"])
        return {row["key"]: row["digest"] for row in columns}

    def vectors(self, collection: str, keys: Sequence[str]) -> dict[str, Vector]:
        columns = self._query(collection, keys, VECTORS_A_CLAUSE, ["key", "dense"])
        return {row["key"]: np.asarray(row["dense"], dtype=np.float32) for row in columns}

    def keys_of(self, collection: str, source: str) -> set[str]:
        self._load(collection)
        clause = source_clause(source)
        with self._milvus.errors():
            rows = self._client.query(collection, clause, ["key"], limit=MAX_ANSWER, **self._read)
        if len(rows) == MAX_ANSWER:  # there may be more; pages are slower
            rows = self._pages(collection, clause, ["key"], MAX_BATCH_ROWS)
        return {row["key"] for row in rows}

    def scan(self, collection: str, limit: int | None = None, with_vectors: bool = True) -> Iterator[Stored]:
        fields = [*PLACE_COLUMNS, "dense"] if with_vectors else [*PLACE_COLUMNS]
        for number, columns in enumerate(self._pages(collection, "", fields, VECTORS_A_CLAUSE)):
            if number == limit:
                return
            yield stored(columns)

    def upsert(self, collection: str, rows: Sequence[Row]) -> int:
        self._load(collection)
        self._has_written = True
        # A key twice in one request is an error on new servers, while Lite takes the last.
        entities = [entity(row) for row in {row.chunk.key: row for row in rows}.values()]
        sizes = [entity_bytes(columns) for columns in entities]
        with self._milvus.errors():
            for batch in pack(sizes, MAX_BATCH_BYTES, MAX_BATCH_ROWS):
                self._client.upsert(collection, entities[batch.start : batch.stop], **self._call)
        return len(entities)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        self._load(collection)
        self._has_written = True
        with self._milvus.errors():
            for clause in key_clauses(keys, MAX_BATCH_ROWS):
                self._client.delete(collection, filter=clause, **self._call)

    def count(self, collection: str) -> int:
        self._load(collection)
        with self._milvus.errors():
            rows = self._client.query(collection, "", ["count(*)"], **self._read)
        return int(rows[0]["count(*)"])

    def search(self, collection: str, query: Query) -> list[Hit]:
        self._load(collection)
        # What a strong read has seen, a bounded one sees as well: a job reads all of its writes strongly before it
        # deletes what they replace, and once more at its end.
        consistency: milvus_search.Consistency = "Strong" if self._has_written else "Bounded"
        return milvus_search.search(self._milvus, collection, query, consistency)

    def finish(self, collection: str) -> None:
        self._load(collection)
        with self._milvus.errors():
            milvus_collections.flush(self._milvus, collection)

    def names(self) -> list[str]:
        with self._milvus.errors():
            return sorted(self._client.list_collections(**self._call))

    def target_of(self, alias: str) -> str | None:
        with self._milvus.errors():
            return milvus_aliases.target_of(self._milvus, alias)

    def point(self, alias: str, collection: str) -> None:
        check_name(alias, "Milvus", MAX_NAME)
        self._load(collection)  # before anybody can search it through the alias
        with self._milvus.errors():
            self._refuse_alias(collection)
            milvus_aliases.point(self._milvus, alias, collection)

    def drop(self, collection: str) -> None:
        self._loaded.discard(collection)
        with self._milvus.errors():
            self._refuse_alias(collection)
            if milvus_collections.exists(self._milvus, collection):
                milvus_aliases.remove_from(self._milvus, collection)
                self._client.drop_collection(collection, **self._call)

    def close(self) -> None:
        self._client.close()

    def _query(self, collection: str, keys: Sequence[str], keys_a_clause: int, fields: list[str]) -> Iterator[Any]:
        self._load(collection)
        for clause in key_clauses(keys, keys_a_clause):
            with self._milvus.errors():
                rows = self._client.query(collection, clause, fields, **self._read)
            yield from rows

    def _pages(self, collection: str, clause: str, fields: list[str], rows_a_page: int) -> Iterator[Any]:
        """Rows beyond one answer; an alias that moves meanwhile changes nothing."""
        self._load(collection)
        with self._milvus.errors():
            collection = milvus_aliases.target_of(self._milvus, collection) or collection
            pages = self._client.query_iterator(
                collection, batch_size=rows_a_page, filter=clause, output_fields=fields, **self._read
            )
        try:
            while True:
                with self._milvus.errors():
                    page = pages.next()
                if not page:
                    return
                yield from page
        finally:
            pages.close()

    def _refuse_alias(self, collection: str) -> None:
        target = milvus_aliases.target_of(self._milvus, collection)
        if target is not None:
            raise is_alias(collection, target)

    def _load(self, collection: str) -> None:
        """Once for every collection: after a start, Lite answers no query before it is told to load."""
        if collection in self._loaded:
            return
        with self._milvus.errors():
            if not milvus_collections.exists(self._milvus, collection):
                raise missing(collection, self._milvus.place)
            self._client.load_collection(collection, **self._call)
        self._loaded.add(collection)
