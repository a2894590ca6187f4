"""One real store of each kind a session; what a test writes is gone before the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest

from ingest.sinks.base import CollectionSpec, VectorSink
from ingest.sinks.registry import open_sink
from tests.contract.milvus_server import milvus_uri
from tests.contract.postgres import postgres_uri
from tests.contract.rows import DIMENSIONS
from tests.contract.stores import MEASURED, STORES, Measured

__all__ = ["milvus_uri", "postgres_uri"]  # fixtures
ROWS = "test_sink_rows.py"
SLOW_TO_MAKE = {"milvus-2.3"}  # seconds a collection, so that most tests share one and empty it
MODEL = "Qwen/Qwen3-Embedding-0.6B"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On Milvus 2.3 every collection takes seconds: by default only what is about rows runs there."""
    if config.getoption("--all-stores"):
        return
    slow = [item for item in items if "[milvus-2.3" in item.name and item.path.name != ROWS]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest, store: str) -> Iterator[tuple[VectorSink, str]]:
    """An open sink, and the URI under which others reach the same store."""
    with open_sink(STORES[store](request)) as sink_and_uri:
        yield sink_and_uri


@pytest.fixture(scope="session")
def sink(opened: tuple[VectorSink, str]) -> VectorSink:
    return opened[0]


@pytest.fixture(scope="session")
def uri(opened: tuple[VectorSink, str]) -> str:
    return opened[1]


@pytest.fixture(scope="session")
def measured(store: str) -> Measured:
    return MEASURED[store]


@pytest.fixture
def _full_text(measured: Measured, store: str) -> None:
    """For tests of what only a store with full text can do."""
    if not measured.full_text:
        pytest.skip(f"{store} has no full text")


@pytest.fixture
def _no_full_text(measured: Measured, store: str) -> None:
    if measured.full_text:
        pytest.skip(f"{store} has full text")


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def new_spec(sink: VectorSink, numbers: Iterator[int]) -> Iterator[Callable[[], CollectionSpec]]:
    """Makes collections' specs; what has been made under their names is dropped after the test."""
    made: list[str] = []

    def make() -> CollectionSpec:
        made.append(f"contract_{next(numbers)}")
        return CollectionSpec(made[-1], DIMENSIONS, MODEL)

    yield make
    for name in made:
        sink.drop(name)


@pytest.fixture
def spec(new_spec: Callable[[], CollectionSpec]) -> CollectionSpec:
    """A collection nobody has made yet."""
    return new_spec()


@pytest.fixture(scope="session")
def shared(sink: VectorSink) -> str:
    spec = CollectionSpec("contract_shared", DIMENSIONS, MODEL)
    sink.ensure(spec)
    return spec.name


@pytest.fixture
def collection(request: pytest.FixtureRequest, store: str, sink: VectorSink) -> Iterator[str]:
    """The name of an empty collection."""
    if store not in SLOW_TO_MAKE:
        spec = request.getfixturevalue("spec")
        sink.ensure(spec)
        yield spec.name
        return
    name: str = request.getfixturevalue("shared")
    yield name
    sink.delete(name, [chunk.key for chunk in sink.scan(name, with_vectors=False)])


@pytest.fixture
def pair(sink: VectorSink, new_spec: Callable[[], CollectionSpec]) -> tuple[str, str]:
    """The names of two empty collections, as of two models."""
    old, new = new_spec(), replace(new_spec(), fingerprint="another pipeline")
    sink.ensure(old)
    sink.ensure(new)
    return old.name, new.name
