"""What only pgvector can get wrong, against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from psycopg.rows import dict_row

from ingest.filters import parse_filter
from ingest.sinks import pgvector_connection, pgvector_search
from ingest.sinks.base import CollectionSpec, Query
from ingest.sinks.pgvector import PgVectorSink
from ingest.sinks.pgvector_schema import relation
from ingest.sinks.words import WordSplitter
from serve_app.core.errors import SetupError
from tests.contract.rows import EAST, random_vectors, row

SPEC = CollectionSpec("notes", 8, "test-model")
SCHEMA = "sink_tests"


@pytest.fixture
def uri(postgres_uri: str) -> Iterator[str]:
    """Of a schema of its own, with pgvector in the one beside it."""
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    yield f"{postgres_uri}&options={quote(f'-c search_path={SCHEMA},public')}"
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.fixture
def sink(uri: str) -> Iterator[PgVectorSink]:
    sink = PgVectorSink(uri)
    yield sink
    sink.close()


@pytest.fixture
def admin(uri: str) -> Iterator[psycopg.Connection[dict[str, object]]]:
    with psycopg.connect(uri, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.mark.parametrize("dimensions", [8, 2_001, 4_096])
@pytest.mark.parametrize("conditions", ["tokens > 0", "meta.lang = zh"])
def test_a_search_through_an_alias_uses_the_vector_index(
    sink: PgVectorSink, admin: psycopg.Connection[dict[str, object]], dimensions: int, conditions: str
) -> None:
    sink.ensure(replace(SPEC, dimensions=dimensions))
    vectors = random_vectors(50, dimensions)
    sink.upsert("notes", [row(f"k{i}", vector, metadata={"lang": "zh"}) for i, vector in enumerate(vectors)])
    sink.finish("notes")
    sink.point("alias", "notes")

    query = Query(vectors[0], conditions=parse_filter(conditions))
    known = relation(admin, "alias")
    assert known is not None
    register_vector(admin)
    statement, parameters = pgvector_search.statement("alias", known, query, [])
    admin.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
    plan = admin.execute("EXPLAIN (COSTS OFF, FORMAT JSON) " + statement.as_string(admin), parameters).fetchone()
    assert "notes-dense" in str(plan)


def test_a_filtered_search_by_the_index_alone_fills_the_limit(
    sink: PgVectorSink, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgvector_search, "_EXACT", "SELECT 1")
    sink.ensure(SPEC)
    vectors = random_vectors(4_000)
    near = np.argsort(-(vectors @ EAST))
    rare = set(near[-40:])  # the filter's one in a hundred are the farthest from the question
    sink.upsert("notes", [row(f"k{i}", vector, ordinal=int(i in rare)) for i, vector in enumerate(vectors)])
    sink.finish("notes")

    forced = PgVectorSink(f"{uri}{quote(' -c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=on')}")
    hits = forced.search("notes", Query(EAST, limit=40, conditions=parse_filter("ordinal = 1")))
    forced.close()
    assert {int(hit.key[1:]) for hit in hits} == rare


def test_a_search_whose_index_gives_up_is_done_again_without_it(sink: PgVectorSink, uri: str) -> None:
    sink.ensure(SPEC)
    vectors = random_vectors(4_000)
    rare = set(np.argsort(-(vectors @ EAST))[-10:])
    sink.upsert("notes", [row(f"k{i}", vector, ordinal=int(i in rare)) for i, vector in enumerate(vectors)])
    sink.finish("notes")

    forced = PgVectorSink(f"{uri}{quote(' -c hnsw.max_scan_tuples=1 -c enable_seqscan=off -c enable_bitmapscan=off')}")
    hits = forced.search("notes", Query(EAST, limit=10, conditions=parse_filter("ordinal = 1")))
    forced.close()
    assert {int(hit.key[1:]) for hit in hits} == rare


def test_finishing_again_and_writing_afterwards_keeps_searches_right(sink: PgVectorSink) -> None:
    sink.ensure(SPEC)
    sink.finish("notes")
    sink.upsert("notes", [row("a", text="租金")])
    sink.finish("notes")
    sink.upsert("notes", [row("b", text="违约金")])
    assert [hit.key for hit in sink.search("notes", Query(EAST, text="违约金"))] == ["b", "a"]


@pytest.mark.parametrize("kind", ["TABLE notes (x int)", "VIEW notes AS SELECT 1 AS x"])
def test_what_another_program_made_is_refused_and_left_alone(
    sink: PgVectorSink, admin: psycopg.Connection[dict[str, object]], kind: str
) -> None:
    admin.execute(f"CREATE {kind}")
    admin.execute(f"COMMENT ON {kind.split(maxsplit=1)[0]} notes IS '{{\"embed\": not json'")
    sink.ensure(replace(SPEC, name="mine"))

    with pytest.raises(SetupError, match="names no embedding model"):
        sink.ensure(SPEC)
    with pytest.raises(SetupError, match="`notes` cannot become an alias"):
        sink.point("notes", "mine")
    with pytest.raises(SetupError, match="no collection `notes`"):
        sink.drop("notes")
    assert sink.spec_of("notes") is None
    assert sink.names() == ["mine"]


def test_a_connection_that_the_server_ends_is_opened_again(
    sink: PgVectorSink, admin: psycopg.Connection[dict[str, object]]
) -> None:
    sink.ensure(SPEC)
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'embed-cluster'")
    with pytest.raises(SetupError, match=r"^PostgreSQL at .* (cannot go on|does not answer)"):
        sink.count("notes")
    assert sink.count("notes") == 0


def test_a_user_without_rights_is_told_what_is_missing(
    uri: str, sink: PgVectorSink, admin: psycopg.Connection[dict[str, object]]
) -> None:
    sink.ensure(SPEC)
    admin.execute("DROP ROLE IF EXISTS reader")
    admin.execute(
        f"CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA {SCHEMA} TO reader; GRANT SELECT ON notes TO reader"
    )
    reader = PgVectorSink(uri.replace("postgres:@", "reader:@"))
    assert reader.count("notes") == 0
    with pytest.raises(SetupError, match="does not permit this user that: permission denied"):
        reader.upsert("notes", [row("a")])
    with pytest.raises(SetupError, match="does not permit this user that: permission denied"):
        reader.ensure(replace(SPEC, name="more"))
    reader.close()
    admin.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_database_without_pgvector_gets_it_from_whoever_may_add_it(postgres_uri: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE DATABASE bare")
        connection.execute("CREATE ROLE guest LOGIN")
        uri = postgres_uri.replace("/postgres?", "/bare?")
        with pytest.raises(SetupError, match="have an administrator run CREATE EXTENSION vector"):
            PgVectorSink(uri.replace("postgres:@", "guest:@"))
        PgVectorSink(uri).close()
        PgVectorSink(uri.replace("postgres:@", "guest:@")).close()
        connection.execute("DROP DATABASE bare")
        connection.execute("DROP ROLE guest")


def test_a_pgvector_that_is_too_old_is_refused_with_the_version(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgvector_connection, "OLDEST_PGVECTOR", (99, 0))
    with pytest.raises(SetupError, match=r"has pgvector 0\.\d+\.\d+ and at least 0\.8 is needed"):
        PgVectorSink(uri)


@pytest.mark.parametrize(
    "uri", ["postgresql://user:hidden@[::1", "postgresql://h/db?hidden=1", "postgresql://h:hidden/d"]
)
def test_an_address_that_cannot_be_read_is_told_without_its_secrets(uri: str) -> None:
    with pytest.raises(SetupError) as caught:
        PgVectorSink(uri)
    assert "hidden" not in caught.value.message


def test_words_are_numbered_quoted_and_without_punctuation() -> None:
    splitter = WordSplitter()
    assert splitter.tsvector("租金，租金! It's a \\ 100%") == "'租金':1,2 'it':3 's':4 'a':5 '100%':6"
    assert splitter.lexemes("租金 租金 IT'S") == ["'租金'", "'it'", "'s'"]
    assert splitter.lexemes("……") == []
