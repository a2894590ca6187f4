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
from ingest.sinks.milvus_schema import collection_schema, entity
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
    client.create_collection(SPEC.name, schema=collection_schema(8), properties=properties)
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


def test_jobs_that_ensure_one_collection_at_the_same_time_all_succeed(uri: str, sink: MilvusSink) -> None:
    sinks = [MilvusSink(uri) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.ensure(SPEC), sinks))
    for one in sinks:
        one.close()
    assert sink.count(SPEC.name) == 0


def test_writers_on_connections_of_their_own_lose_nothing(uri: str, sink: MilvusSink) -> None:
    sink.ensure(SPEC)
    sinks = [MilvusSink(uri) for _ in range(4)]
    batches = [[Row(replace(CHUNK, key=f"w{w}-{i}"), VECTOR) for i in range(100)] for w in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda w: sinks[w % 4].upsert(SPEC.name, batches[w]), range(8)))
    for one in sinks:
        one.close()
    assert sink.count(SPEC.name) == 800


@pytest.mark.parametrize("name", ["", "my-notes", "1st", "a" * 256, "a b", "笔记"])
def test_a_name_that_milvus_cannot_use_is_refused_with_the_rule(sink: MilvusSink, name: str) -> None:
    with pytest.raises(SetupError, match="use letters, digits and _"):
        sink.ensure(replace(SPEC, name=name))


@pytest.mark.parametrize(
    ("change", "column", "length"),
    [
        ({"text": "租" * 21_846}, "text", 65_538),
        ({"key": "k" * 65}, "key", 65),
        ({"title": "t" * 65_536}, "title", 65_536),
    ],
    ids=["text", "key", "title"],
)
def test_a_column_longer_than_milvus_can_hold_is_refused_and_not_cut(
    change: dict[str, str], column: str, length: int
) -> None:
    with pytest.raises(SetupError, match=f"`{column}` of chunk notes_0001 has {length} bytes"):
        entity(Row(replace(CHUNK, **change), VECTOR))  # type: ignore[arg-type]


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
