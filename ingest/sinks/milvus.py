"""Milvus behind the sink port: the embedded Lite server and a real one, through the same driver."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import grpc
from pymilvus import (  # type: ignore[import-untyped]
    AnnSearchRequest,
    MilvusClient,
    MilvusException,
    RRFRanker,
)
from pymilvus.milvus_client import IndexParams  # type: ignore[import-untyped]

from ingest.sinks.base import CollectionSpec, Hit, Query, Row
from ingest.sinks.milvus_schema import (
    HIT_FIELDS,
    INDEXES,
    collection_schema,
    entity,
    entity_bytes,
    filter_clause,
    hit,
    key_clauses,
    source_clause,
)
from serve_app.core.errors import SetupError
from serve_app.core.packing import pack

MAX_BATCH_BYTES = 8 * 2**20  # a server refuses requests above 64 MB; small ones also keep its memory flat
MAX_BATCH_ROWS = 1_000
MIN_CANDIDATES = 64  # the beam of a dense search, and how many hits of each ranking hybrid search fuses
RRF_K = 60  # the usual constant of reciprocal rank fusion

_COLLECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_MODEL, _DIMENSIONS = "embed.model", "embed.dimensions"  # properties, because Lite forgets a description


class MilvusSink:
    """A `VectorSink` on one connection, which several threads may use.

    Reads are strong: they see every write that was acknowledged before them.
    """

    def __init__(self, uri: str, timeout_s: float = 60.0, place: str = "") -> None:
        """Connect to `http://host:port`, which messages call `place`, or by its address.

        `timeout_s` bounds every call together with the driver's own retries.
        """
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # the driver also prints every error that it raises
        self._place = place or urlsplit(uri).netloc.rpartition("@")[2]  # without credentials
        self._read: dict[str, Any] = {"timeout": timeout_s, "consistency_level": "Strong"}
        self._timeout_s = timeout_s
        self._loaded: set[str] = set()
        with self._errors():
            self._client = MilvusClient(uri, timeout=timeout_s, dedicated=True)

    def ensure(self, spec: CollectionSpec) -> None:
        if not _COLLECTION_NAME.fullmatch(spec.name):
            raise SetupError(
                f"Milvus cannot name a collection `{spec.name}`: use letters, digits and _, "
                "at most 255 of them and no digit first."
            )
        with self._errors():
            _make(lambda: self._exists(spec.name), lambda: self._create(spec))
            _check_spec(spec, self._made_for(spec.name))
            # A job that died right after it created the collection has left it without indexes.
            for field in INDEXES:
                _make(partial(self._is_indexed, spec.name, field), partial(self._index, spec.name, field))
            self._client.load_collection(spec.name, timeout=self._timeout_s)
        self._loaded.add(spec.name)

    def spec_of(self, collection: str) -> CollectionSpec | None:
        with self._errors():
            return self._made_for(collection) if self._exists(collection) else None

    def existing(self, collection: str, keys: Sequence[str]) -> set[str]:
        self._load(collection)
        found: set[str] = set()
        with self._errors():
            for clause in key_clauses(keys):
                rows = self._client.query(collection, clause, ["key"], **self._read)
                found.update(row["key"] for row in rows)
        return found

    def keys_of(self, collection: str, source: str) -> set[str]:
        self._load(collection)
        found: set[str] = set()
        with self._errors():
            # One answer holds at most 16,384 rows, and a large source has more chunks.
            pages = self._client.query_iterator(
                collection, batch_size=MAX_BATCH_ROWS, filter=source_clause(source), output_fields=["key"], **self._read
            )
            while page := pages.next():
                found.update(row["key"] for row in page)
            pages.close()
        return found

    def upsert(self, collection: str, rows: Sequence[Row]) -> int:
        self._load(collection)
        # A key twice in one request is an error on a server, while Lite takes the last.
        entities = [entity(row) for row in {row.chunk.key: row for row in rows}.values()]
        sizes = [entity_bytes(columns) for columns in entities]
        with self._errors():
            for batch in pack(sizes, MAX_BATCH_BYTES, MAX_BATCH_ROWS):
                self._client.upsert(collection, entities[batch.start : batch.stop], timeout=self._timeout_s)
        return len(entities)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        self._load(collection)
        with self._errors():
            for clause in key_clauses(keys):
                self._client.delete(collection, filter=clause, timeout=self._timeout_s)

    def count(self, collection: str) -> int:
        self._load(collection)
        with self._errors():
            rows = self._client.query(collection, "", ["count(*)"], **self._read)
        return int(rows[0]["count(*)"])

    def search(self, collection: str, query: Query) -> list[Hit]:
        self._load(collection)
        with self._errors():
            answer = self._dense(collection, query) if query.text is None else self._hybrid(collection, query)
        return [hit(found["distance"], found["entity"]) for found in answer]

    def drop(self, collection: str) -> None:
        self._loaded.discard(collection)
        with self._errors():
            if self._exists(collection):
                self._client.drop_collection(collection, timeout=self._timeout_s)

    def close(self) -> None:
        self._client.close()

    def _dense(self, collection: str, query: Query) -> Any:
        answers = self._client.search(
            collection,
            [query.vector],
            filter=filter_clause(query.conditions),
            limit=query.limit,
            output_fields=HIT_FIELDS,
            search_params=_dense_params(query.limit),
            anns_field="dense",
            **self._read,
        )
        return answers[0]

    def _hybrid(self, collection: str, query: Query) -> Any:
        candidates = max(MIN_CANDIDATES, query.limit)
        clause = filter_clause(query.conditions)
        dense = AnnSearchRequest([query.vector], "dense", _dense_params(candidates), candidates, expr=clause)
        sparse = AnnSearchRequest([query.text], "sparse", {"metric_type": "BM25"}, candidates, expr=clause)
        answers = self._client.hybrid_search(
            collection, [dense, sparse], RRFRanker(RRF_K), limit=query.limit, output_fields=HIT_FIELDS, **self._read
        )
        return answers[0]

    def _create(self, spec: CollectionSpec) -> None:
        properties = {_MODEL: spec.model, _DIMENSIONS: str(spec.dimensions)}
        schema = collection_schema(spec.dimensions)
        self._client.create_collection(spec.name, schema=schema, properties=properties, timeout=self._timeout_s)

    def _made_for(self, collection: str) -> CollectionSpec | None:
        properties = self._client.describe_collection(collection, timeout=self._timeout_s).get("properties", {})
        model, dimensions = properties.get(_MODEL), properties.get(_DIMENSIONS)
        return CollectionSpec(collection, int(dimensions), model) if model and dimensions else None

    def _index(self, collection: str, field: str) -> None:
        params = IndexParams()
        params.add_index(field, **INDEXES[field])
        self._client.create_index(collection, params, timeout=self._timeout_s, sync=False)

    def _is_indexed(self, collection: str, field: str) -> bool:
        return bool(self._client.list_indexes(collection, field, timeout=self._timeout_s))

    def _exists(self, collection: str) -> bool:
        return bool(self._client.has_collection(collection, timeout=self._timeout_s))

    def _load(self, collection: str) -> None:
        """Once for every collection: after a start, Lite answers no query before it is told to load."""
        if collection in self._loaded:
            return
        with self._errors():
            if not self._exists(collection):
                raise SetupError(
                    f"There is no collection `{collection}` in Milvus at {self._place}; ingest into it first."
                )
            self._client.load_collection(collection, timeout=self._timeout_s)
        self._loaded.add(collection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            reason = str(error.message).partition("\n")[0]
            raise SetupError(f"Milvus at {self._place} cannot go on: {reason}") from error
        except grpc.RpcError as error:
            raise SetupError(f"Milvus at {self._place} does not answer; check that it runs there.") from error


def _make(is_there: Callable[[], bool], make: Callable[[], None]) -> None:
    """Make it unless it is there, or another process makes it in the same moment."""
    if is_there():
        return
    try:
        make()
    except MilvusException:
        if not is_there():
            raise


def _dense_params(candidates: int) -> dict[str, Any]:
    return {"metric_type": "COSINE", "params": {"ef": max(MIN_CANDIDATES, candidates)}}


def _check_spec(spec: CollectionSpec, known: CollectionSpec | None) -> None:
    if known == spec:
        return
    made_for = "something else, as it names no embedding model"
    if known is not None:
        made_for = f"{known.model}, {known.dimensions} dimensions"
    raise SetupError(
        f"Collection `{spec.name}` was made for {made_for}; these vectors are of {spec.model}, {spec.dimensions} "
        "dimensions. Choose another collection, or replace this one with --recreate."
    )
