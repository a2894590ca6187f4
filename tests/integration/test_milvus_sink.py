"""What only Milvus can get wrong, against a real Milvus Lite server."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import MilvusClient  # type: ignore[import-untyped]

from ingest.records import Chunk
from ingest.sinks.base import CollectionSpec, Query, Row
from ingest.sinks.lite_server import LiteServer
from ingest.sinks.milvus import MilvusSink
from ingest.sinks.milvus_rows import entity
from ingest.sinks.milvus_schema import abilities, collection_schema
from serve_app.core.errors import SetupError

SPEC = CollectionSpec("notes", 8, "test-model")
CHUNK = Chunk("k1", "notes_0001", "file:///notes.md", "notes.md", "md", "Notes", ("Notes",), 1, 1, 0, 2, "违约金")
VECTOR = np.eye(8, dtype=np.float32)[0]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LiteServer(tmp_path_factory.mktemp("milvus")) as server:
        yield server.uri


@pytest.fixture
def sink(uri: str) -> Iterator[MilvusSink]:
    sink = MilvusSink(uri)
    yield sink
    sink.drop(SPEC.name)
    sink.close()


def test_a_collection_that_a_dead_job_left_without_indexes_is_completed(uri: str, sink: MilvusSink) -> None:
    client = MilvusClient(uri, dedicated=True)
    properties = {"embed.model": SPEC.model, "embed.dimensions": "8"}
    client.create_collection(SPEC.name, schema=collection_schema(8, abilities("2.6")), properties=properties)
    client.close()

    sink.ensure(SPEC)
    sink.upsert(SPEC.name, [Row(CHUNK, VECTOR)])
    assert [hit.key for hit in sink.search(SPEC.name, Query(VECTOR, text="违约金"))] == ["k1"]


def test_a_collection_of_another_program_is_refused(uri: str, sink: MilvusSink) -> None:
    client = MilvusClient(uri, dedicated=True)
    client.create_collection(SPEC.name, dimension=8)
    client.close()

    with pytest.raises(SetupError, match="names no embedding model"):
        sink.ensure(SPEC)
    assert sink.spec_of(SPEC.name) is None


def test_writers_on_connections_of_their_own_lose_nothing(uri: str, sink: MilvusSink) -> None:
    sink.ensure(SPEC)
    sinks = [MilvusSink(uri) for _ in range(4)]
    batches = [[Row(replace(CHUNK, key=f"w{w}-{i}"), VECTOR) for i in range(100)] for w in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda w: sinks[w % 4].upsert(SPEC.name, batches[w]), range(8)))
    for one in sinks:
        one.close()
    assert sink.count(SPEC.name) == 800


@pytest.mark.parametrize(
    ("change", "column", "length"),
    [
        ({"text": "租" * 21_846}, "text", 65_538),
        ({"key": "k" * 65}, "key", 65),
        ({"title": "t" * 65_536}, "title", 65_536),
        ({"language": "x" * 257}, "language", 257),
        ({"metadata": {"a": "租" * 21_843}}, "metadata", 65_538),
    ],
    ids=["text", "key", "title", "language", "metadata"],
)
def test_a_column_longer_than_milvus_can_hold_is_refused_and_not_cut(
    change: dict[str, object], column: str, length: int
) -> None:
    with pytest.raises(SetupError, match=f"`{column}` of chunk notes_0001 has {length} bytes"):
        entity(Row(replace(CHUNK, **change), VECTOR))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "bm25", "partition_key"),
    [
        ("v2.3.5-lite", False, False),
        ("2.3.22", False, False),
        ("v2.4.23", False, True),
        ("2.5.0", True, True),
        ("v2.10.1", True, True),
        ("v3.0.0", True, True),
        ("milvus_lite-1.0.0", True, True),
        ("master-20260101-abcdef", True, True),
    ],
)
def test_what_a_server_can_do_follows_from_its_version(version: str, bm25: bool, partition_key: bool) -> None:
    server = abilities(version)
    assert (server.has_bm25, server.has_partition_key) == (bm25, partition_key)
    assert ("sparse" in server.indexes) is bm25
    names = {field.name for field in collection_schema(8, server).fields}
    assert ("sparse" in names) is bm25
    tenant = next(field for field in collection_schema(8, server).fields if field.name == "tenant")
    assert tenant.is_partition_key is partition_key


def test_a_server_that_went_away_is_one_clear_sentence(tmp_path: Path) -> None:
    with LiteServer(tmp_path) as server:
        sink = MilvusSink(server.uri, timeout_s=2)
        sink.ensure(SPEC)
        os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
        with pytest.raises(SetupError, match=r"^Milvus at 127\.0\.0\.1:\d+ ") as caught:
            sink.upsert(SPEC.name, [Row(CHUNK, VECTOR)])
        sink.close()
    assert "\n" not in caught.value.message
    assert "违约金" not in caught.value.message
