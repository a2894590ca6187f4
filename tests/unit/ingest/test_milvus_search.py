"""Which searches wait for the server's clock: on a real server that is most of their time."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import create_autospec

import numpy as np
import pytest
from pymilvus import MilvusClient  # type: ignore[import-untyped]

from ingest.sinks import milvus_connection
from ingest.sinks.base import Query
from ingest.sinks.milvus import MilvusSink

VECTOR = np.ones(4, dtype=np.float32)
QUERIES = [Query(VECTOR), Query(None, text="rent"), Query(VECTOR, text="rent")]


class Asked:
    """A driver that finds nothing and keeps the consistency that it was asked for."""

    def __init__(self) -> None:
        self.client = create_autospec(MilvusClient, instance=True)
        self.client.search.return_value = self.client.hybrid_search.return_value = [[]]
        self.client.query.return_value = [{"count(*)": 1, "key": "k1", "digest": ""}]
        self.client.get_server_version.return_value = "v2.6.0"

    def levels(self) -> list[str]:
        calls = self.client.search.mock_calls + self.client.hybrid_search.mock_calls + self.client.query.mock_calls
        return [call.kwargs["consistency_level"] for call in calls]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(milvus_connection, "MilvusClient", lambda *_, **__: asked.client)
    return asked


@pytest.fixture
def sink(asked: Asked) -> Iterator[MilvusSink]:
    sink = MilvusSink("http://milvus.example:19530")
    yield sink
    sink.close()


@pytest.mark.parametrize("query", QUERIES, ids=["dense", "words", "hybrid"])
def test_a_search_does_not_wait_for_the_server_s_clock(sink: MilvusSink, asked: Asked, query: Query) -> None:
    sink.search("kb", query)
    assert asked.levels() == ["Bounded"]


@pytest.mark.parametrize("query", QUERIES, ids=["dense", "words", "hybrid"])
def test_a_sink_that_has_written_searches_for_what_it_has_written(sink: MilvusSink, asked: Asked, query: Query) -> None:
    sink.delete("kb", ["k1"])
    sink.search("kb", query)
    assert asked.levels() == ["Strong"]


def test_what_a_job_goes_by_before_it_deletes_is_read_strongly(sink: MilvusSink, asked: Asked) -> None:
    sink.existing("kb", ["k1"])
    sink.keys_of("kb", "file:///a")
    sink.count("kb")
    assert asked.levels() == ["Strong"] * 3
