"""The stores that the sink contract runs against: one real store a session, one fresh collection a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from ingest.sinks.base import CollectionSpec, VectorSink
from ingest.sinks.registry import open_sink

DIMENSIONS = 8
MODEL = "Qwen/Qwen3-Embedding-0.6B"


def milvus_lite(folder: Path) -> str:
    return f"milvus-lite:{folder / 'lite'}"


STORES: dict[str, Callable[[Path], str]] = {"milvus-lite": milvus_lite}  # readable id → the URI of a store of its own


@pytest.fixture(scope="session", params=STORES)
def sink(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorSink]:
    with open_sink(STORES[request.param](tmp_path_factory.mktemp("store"))) as (sink, _):
        yield sink


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def spec(sink: VectorSink, numbers: Iterator[int]) -> Iterator[CollectionSpec]:
    """A collection nobody has made yet, dropped after the test."""
    spec = CollectionSpec(f"contract_{next(numbers)}", DIMENSIONS, MODEL)
    yield spec
    sink.drop(spec.name)


@pytest.fixture
def collection(sink: VectorSink, spec: CollectionSpec) -> str:
    """The name of an empty collection."""
    sink.ensure(spec)
    return spec.name
