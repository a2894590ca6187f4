"""How a collection looks in PostgreSQL: one table, what it was made for in its comment; an alias is a view on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from ingest.sinks.base import CollectionSpec
from ingest.sinks.pgvector_connection import PgConnection

MAX_NAME = 50  # 63 bytes are allowed, and indexes append to it
MAX_VECTOR = 2_000  # dimensions that HNSW takes in single precision
MAX_HALFVEC = 4_000  # … and in half precision; of longer vectors the first so many are indexed
COLUMNS = {  # in the order of the table, the vector and its words apart
    "key": "text",
    "tenant": "text",
    "run_id": "text",
    "digest": "text",
    "chunk_id": "text",
    "source": "text",
    "source_file": "text",
    "part": "text",
    "format": "text",
    "title": "text",
    "section_title": "text",
    "heading_path": "text[]",
    "language": "text",
    "file_hash": "text",
    "page_number": "int4",
    "page_end": "int4",
    "ordinal": "int4",
    "tokens": "int4",
    "start": "int8",
    "end": "int8",
    "context": "text",
    "text": "text",
    "metadata": "jsonb",
}
_NULLABLE = ("page_number", "page_end")
_MODEL, _ALIAS_OF = "embed_model", "embed_alias_of"


_RELATIONS = """
    WITH known AS (
        SELECT relname AS name, reltuples AS rows, obj_description(oid, 'pg_class') AS comment FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
    ), told AS (
        SELECT name, rows, CASE WHEN comment LIKE '{"embed\\_%%' THEN comment::jsonb END AS told FROM known
    )
    SELECT one.name, coalesce(target.name, one.name) AS collection, coalesce(target.rows, one.rows) AS rows,
           coalesce(target.told, one.told) AS told, one.told ->> 'embed_alias_of' AS alias_of
    FROM told AS one LEFT JOIN told AS target ON target.name = one.told ->> 'embed_alias_of'
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a name stands for: a collection, an alias of one, or something of another program (no `spec`)."""

    spec: CollectionSpec | None  # of an alias, the collection's
    alias_of: str | None
    rows: float  # estimate


def vector_type(dimensions: int) -> sql.SQL:
    """Half precision costs 1e-3 of a coordinate and is the only one that can be indexed above 2,000 dimensions."""
    return sql.SQL("vector") if dimensions <= MAX_VECTOR else sql.SQL("halfvec")


def relation(connection: PgConnection, name: str) -> Relation | None:
    """None if there is nothing of that name in the schema where collections are made."""
    # One statement, so that an alias that moves meanwhile is seen before or after, and never in between.
    found = connection.execute(f"{_RELATIONS} WHERE one.name = %s", (name,)).fetchone()
    return _relation(found) if found else None


def relations(connection: PgConnection) -> dict[str, Relation]:
    """Every table and view of the schema, by name."""
    return {row["name"]: _relation(row) for row in connection.execute(_RELATIONS)}


def create_table(connection: PgConnection, spec: CollectionSpec) -> None:
    columns = [
        sql.SQL("{} {} {}").format(
            sql.Identifier(name), sql.SQL(kind), sql.SQL("" if name in _NULLABLE else "NOT NULL")
        )
        for name, kind in COLUMNS.items()
    ]
    statement = sql.SQL(
        "CREATE TABLE {table} ({columns}, words tsvector NOT NULL, dense {vector}({dimensions}) NOT NULL, "
        "CONSTRAINT {primary} PRIMARY KEY (key))"
    )
    connection.execute(
        statement.format(
            table=sql.Identifier(spec.name),
            columns=sql.SQL(", ").join(columns),
            vector=vector_type(spec.dimensions),
            dimensions=sql.Literal(spec.dimensions),
            primary=_index_name(spec.name, "key"),
        )
    )
    # A hash index, because a B-tree takes no value above 2.7 kB and a URI may be longer.
    connection.execute(
        sql.SQL("CREATE INDEX {} ON {} USING hash (source)").format(
            _index_name(spec.name, "source"), sql.Identifier(spec.name)
        )
    )
    made_for = {_MODEL: spec.model, "dimensions": spec.dimensions, "fingerprint": spec.fingerprint}
    _comment(connection, "TABLE", spec.name, made_for)


def create_indexes(connection: PgConnection, spec: CollectionSpec) -> None:
    """What searches need, built once the rows are there, which is several times faster than row by row."""
    for name, method in {
        "dense": sql.SQL("hnsw ({} {}) WITH (m = 16, ef_construction = 64)").format(
            indexed_vector(spec.dimensions, sql.SQL("dense")),
            sql.SQL("vector_cosine_ops" if spec.dimensions <= MAX_VECTOR else "halfvec_cosine_ops"),
        ),
        "words": sql.SQL("gin (words)"),
        "metadata": sql.SQL("gin (metadata jsonb_path_ops)"),
        "tenant": sql.SQL("hash (tenant)"),
    }.items():
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING {}").format(
                _index_name(spec.name, name), sql.Identifier(spec.name), method
            )
        )
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(spec.name)))


def indexed_vector(dimensions: int, vector: sql.Composable) -> sql.Composable:
    """The part of a vector that HNSW holds: all of it, up to `MAX_HALFVEC` dimensions."""
    if dimensions <= MAX_HALFVEC:
        return sql.SQL("({})").format(vector)
    return sql.SQL("(subvector({0}, 1, {1})::halfvec({1}))").format(vector, sql.Literal(MAX_HALFVEC))


def create_alias(connection: PgConnection, alias: str, collection: str) -> None:
    connection.execute(
        sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(sql.Identifier(alias), sql.Identifier(collection))
    )
    _comment(connection, "VIEW", alias, {_ALIAS_OF: collection})


def drop(connection: PgConnection, kind: str, name: str) -> None:
    """`kind` is TABLE or VIEW."""
    connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name)))


def _comment(connection: PgConnection, kind: str, name: str, told: Mapping[str, object]) -> None:
    connection.execute(
        sql.SQL("COMMENT ON {} {} IS {}").format(
            sql.SQL(kind), sql.Identifier(name), sql.Literal(json.dumps(told, ensure_ascii=True))
        )
    )


def _relation(row: Mapping[str, Any]) -> Relation:
    told, rows = row["told"] or {}, max(0.0, row["rows"])
    if _MODEL not in told:
        return Relation(None, row["alias_of"], rows)
    spec = CollectionSpec(row["collection"], told["dimensions"], told[_MODEL], told["fingerprint"])
    return Relation(spec, row["alias_of"], rows)


def _index_name(collection: str, suffix: str) -> sql.Identifier:
    """With a hyphen, which no collection's name has: indexes and tables share their names in PostgreSQL."""
    return sql.Identifier(f"{collection}-{suffix}")
