"""PostgreSQL with pgvector behind the sink port: a collection is a table, an alias is a view on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from psycopg import sql

from ingest.sinks import pgvector_schema as schema
from ingest.sinks import pgvector_search
from ingest.sinks.base import CollectionSpec, Hit, Query, Row, Stored, Vector
from ingest.sinks.collection_rules import check_name, check_spec, has_own_name, is_alias, missing
from ingest.sinks.pgvector_connection import PgConnection, PostgresConnection, lock_definitions
from ingest.sinks.pgvector_rows import PLACE_COLUMNS, row_bytes, storable, stored, to_vector, values, write
from ingest.sinks.words import WordSplitter
from serve_app.core.packing import pack

MAX_BATCH_BYTES = 8 * 2**20  # of one transaction
MAX_BATCH_ROWS = 1_000
ROWS_A_PAGE = 256


class PgVectorSink:
    """A `VectorSink` on one connection, which several threads may use one after the other."""

    def __init__(self, uri: str, timeout_s: float = 60.0) -> None:
        """Connect to `postgresql://…`; collections live in the first schema of its search path.

        `timeout_s` bounds every statement but those of `finish`.
        """
        self._postgres = PostgresConnection(uri, timeout_s)
        self._splitter = WordSplitter()

    def ensure(self, spec: CollectionSpec) -> None:
        check_name(spec.name, "PostgreSQL", schema.MAX_NAME)
        with self._postgres.transaction(spec.name) as connection:
            lock_definitions(connection)
            known = schema.relation(connection, spec.name)
            if known is None:
                schema.create_table(connection, spec)
                return
        if known.alias_of is not None:
            raise is_alias(spec.name, known.alias_of)
        check_spec(spec, known.spec)

    def spec_of(self, collection: str) -> CollectionSpec | None:
        with self._postgres.transaction(collection) as connection:
            known = schema.relation(connection, collection)
        return replace(known.spec, name=collection) if known and known.spec else None

    def existing(self, collection: str, keys: Sequence[str]) -> dict[str, str]:
        rows = self._read(collection, "SELECT key, digest FROM {} WHERE key = ANY(%s)", [storable(key) for key in keys])
        return {row["key"]: row["digest"] for row in rows}

    def vectors(self, collection: str, keys: Sequence[str]) -> dict[str, Vector]:
        statement = "SELECT key, dense::vector AS dense FROM {} WHERE key = ANY(%s)"
        found: dict[str, Vector] = {}
        for start in range(0, len(keys), ROWS_A_PAGE):
            page = [storable(key) for key in keys[start : start + ROWS_A_PAGE]]
            found |= {row["key"]: to_vector(row["dense"]) for row in self._read(collection, statement, page)}
        return found

    def keys_of(self, collection: str, source: str) -> set[str]:
        rows = self._read(collection, "SELECT key FROM {} WHERE source = %s", storable(source))
        return {row["key"] for row in rows}

    def scan(self, collection: str, limit: int | None = None, with_vectors: bool = True) -> Iterator[Stored]:
        # Only names from the code are put into the statement.
        columns = ", ".join(PLACE_COLUMNS) + (", dense::vector AS dense" if with_vectors else "")
        statement = f"SELECT {columns} FROM {{}} WHERE key > %s ORDER BY key LIMIT %s"  # noqa: S608
        collection = self._known(collection).name  # an alias that moves between two pages changes nothing
        after, left = "", limit
        while left is None or left > 0:
            wanted = ROWS_A_PAGE if left is None else min(left, ROWS_A_PAGE)
            page = self._read(collection, statement, after, wanted)
            yield from map(stored, page)
            if len(page) < wanted:
                return
            after, left = page[-1]["key"], None if left is None else left - wanted

    def upsert(self, collection: str, rows: Sequence[Row]) -> int:
        distinct = list({row.chunk.key: row for row in rows}.values())
        dimensions = self._known(collection).dimensions
        for batch in pack([row_bytes(row) for row in distinct], MAX_BATCH_BYTES, MAX_BATCH_ROWS):
            batch_values = [values(row, self._splitter) for row in distinct[batch.start : batch.stop]]
            with self._postgres.transaction(collection) as connection:
                write(connection, collection, dimensions, batch_values)
        return len(distinct)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        with self._postgres.transaction(collection) as connection:
            statement = sql.SQL("DELETE FROM {} WHERE key = ANY(%s)").format(sql.Identifier(collection))
            connection.execute(statement, ([storable(key) for key in keys],))

    def count(self, collection: str) -> int:
        return int(self._read(collection, "SELECT count(*) AS chunks FROM {}")[0]["chunks"])

    def search(self, collection: str, query: Query) -> list[Hit]:
        with self._postgres.transaction(collection) as connection:
            known = schema.relation(connection, collection)
            if known is None or known.spec is None:
                raise missing(collection, self._postgres.place)
            return pgvector_search.search(connection, collection, known, query, self._splitter)

    def finish(self, collection: str) -> None:
        spec = self._known(collection)
        with self._postgres.transaction(spec.name, timeout_s=0) as connection:
            schema.create_indexes(connection, spec)

    def names(self) -> list[str]:
        with self._postgres.transaction() as connection:
            known = schema.relations(connection)
        return sorted(name for name, one in known.items() if one.spec and not one.alias_of)

    def target_of(self, alias: str) -> str | None:
        with self._postgres.transaction(alias) as connection:
            known = schema.relation(connection, alias)
        return known.alias_of if known else None

    def point(self, alias: str, collection: str) -> None:
        check_name(alias, "PostgreSQL", schema.MAX_NAME)
        with self._postgres.transaction(collection) as connection:
            lock_definitions(connection)
            self._check_is_collection(connection, collection)
            known = schema.relation(connection, alias)
            if known is not None and known.alias_of is None:
                raise has_own_name(alias, self._postgres.place)
            if known is not None:
                schema.drop(connection, "VIEW", alias)
            schema.create_alias(connection, alias, collection)

    def drop(self, collection: str) -> None:
        with self._postgres.transaction(collection) as connection:
            lock_definitions(connection)
            known = schema.relations(connection)
            if collection not in known:
                return
            self._check_is_collection(connection, collection)
            for name in [name for name, one in known.items() if one.alias_of == collection]:
                schema.drop(connection, "VIEW", name)
            schema.drop(connection, "TABLE", collection)

    def close(self) -> None:
        self._postgres.close()

    def _known(self, collection: str) -> CollectionSpec:
        """What the collection, or the one behind the alias, was made for, under its own name."""
        with self._postgres.transaction(collection) as connection:
            known = schema.relation(connection, collection)
        if known is None or known.spec is None:
            raise missing(collection, self._postgres.place)
        return known.spec

    def _check_is_collection(self, connection: PgConnection, name: str) -> None:
        known = schema.relation(connection, name)
        if known is None or known.spec is None:
            raise missing(name, self._postgres.place)
        if known.alias_of is not None:
            raise is_alias(name, known.alias_of)

    def _read(self, collection: str, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """`{}` in the statement is the collection."""
        with self._postgres.transaction(collection) as connection, connection.cursor(binary=True) as cursor:
            cursor.execute(sql.SQL(statement).format(sql.Identifier(collection)), parameters)
            return cursor.fetchall()
