"""Dense, full-text and hybrid search in PostgreSQL, each one statement.

Full text is ranked by BM25 without its length term (chunks are of similar length by construction): ts_rank_cd of one
word counts its occurrences, and how rare the word is comes from the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgvector import Vector as PgVector
from psycopg import sql

from ingest.sinks.base import Hit, Query
from ingest.sinks.pgvector_connection import PgConnection
from ingest.sinks.pgvector_filter import where
from ingest.sinks.pgvector_rows import HIT_COLUMNS, hit, storable
from ingest.sinks.pgvector_schema import Relation, indexed_vector, vector_type
from ingest.sinks.words import WordSplitter

MIN_CANDIDATES = 64  # the beam of a dense search, and how many hits of each ranking hybrid search fuses
MAX_BEAM = 1_000  # pgvector's own limit
RRF_K = 60  # the usual constant of reciprocal rank fusion

# relaxed_order goes on until enough rows pass the filter; what comes out of order is sorted by the outer query.
_SETTINGS = """
    SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),
           set_config('hnsw.ef_search', %s, true), set_config('jit', 'off', true)
"""
_EXACT = "SELECT set_config('enable_indexscan', 'off', true)"
_DENSE = """
    dense_near AS MATERIALIZED (
        SELECT key, dense <=> {vector} AS distance FROM {table} WHERE {where}
        ORDER BY {near} <=> {near_vector} LIMIT %(candidates)s
    ),
    dense_found AS (
        SELECT key, 1 - distance AS score, row_number() OVER (ORDER BY distance, key) AS place FROM dense_near
    )
"""
_WORDS = """
    asked_words AS MATERIALIZED (
        SELECT word::tsquery AS word, (SELECT count(*) FROM {table} WHERE words @@ word::tsquery) AS chunks
        FROM unnest(%(words)s::text[]) AS word
    ),
    weights AS MATERIALIZED (
        SELECT word, ln(1 + (greatest(%(rows)s, max(chunks) OVER ()) - chunks + 0.5) / (chunks + 0.5)) AS weight
        FROM asked_words WHERE chunks > 0
    ),
    words_near AS (
        SELECT key, sum(weight * 2.2 * occurrences / (occurrences + 1.2)) AS score
        FROM {table}, weights, LATERAL (SELECT 10 * ts_rank_cd(words, word) AS occurrences) AS counted
        WHERE words @@ array_to_string(%(words)s::text[], ' | ')::tsquery AND words @@ word AND {where}
        GROUP BY key ORDER BY score DESC, key LIMIT %(candidates)s
    ),
    words_found AS (SELECT key, score, row_number() OVER (ORDER BY score DESC, key) AS place FROM words_near)
"""
_FUSED = """
    fused AS (
        SELECT key, sum(1.0 / (%(rrf_k)s + place)) AS score
        FROM (SELECT * FROM dense_found UNION ALL SELECT * FROM words_found) AS ranked GROUP BY key
    )
"""
_FOUND_BY = {_DENSE: "dense_found", _WORDS: "words_found", _FUSED: "fused"}  # where the last step's hits stand
_HITS = """
    SELECT found.score, {columns} FROM {found} AS found JOIN {table} USING (key)
    ORDER BY found.score DESC, key LIMIT %(limit)s
"""


def search(
    connection: PgConnection, collection: str, known: Relation, query: Query, splitter: WordSplitter
) -> list[Hit]:
    """A search that finds too little is done again without the index: correct before fast."""
    words = splitter.lexemes(storable(query.text)) if query.text is not None else []
    if query.vector is None and not words:
        return []
    asked, parameters = statement(collection, known, query, words)
    beam = min(MAX_BEAM, max(MIN_CANDIDATES, parameters["candidates"]))
    connection.execute(_SETTINGS, (str(beam),))
    rows = connection.execute(asked, parameters).fetchall()
    if len(rows) < query.limit and query.vector is not None:
        connection.execute(_EXACT)
        rows = connection.execute(asked, parameters).fetchall()
    return [hit(row) for row in rows]


def statement(
    collection: str, known: Relation, query: Query, words: Sequence[str]
) -> tuple[sql.Composed, dict[str, Any]]:
    """The one statement of a search, and its parameters; `words` are quoted lexemes."""
    condition, parameters = where(query.conditions, query.tenant)
    steps = [_DENSE] if query.vector is not None else []
    steps += [_WORDS] if words else []
    is_hybrid = len(steps) == 2
    steps += [_FUSED] if is_hybrid else []
    dimensions = known.spec.dimensions if known.spec else 0
    vector = sql.SQL("%(vector)s::{}").format(vector_type(dimensions))
    columns = [sql.SQL("{}.{}").format(sql.Identifier(collection), sql.Identifier(name)) for name in HIT_COLUMNS]
    composed = sql.SQL("WITH " + ",".join(steps) + _HITS).format(
        table=sql.Identifier(collection),
        where=condition,
        vector=vector,
        near=indexed_vector(dimensions, sql.SQL("dense")),
        near_vector=indexed_vector(dimensions, vector),
        columns=sql.SQL(", ").join(columns),
        found=sql.Identifier(_FOUND_BY[steps[-1]]),
    )
    parameters |= {
        "vector": None if query.vector is None else PgVector(query.vector),
        "words": list(words),
        "rows": known.rows,
        "rrf_k": RRF_K,
        "candidates": max(MIN_CANDIDATES, query.limit) if is_hybrid else query.limit,
        "limit": query.limit,
    }
    return composed, parameters
