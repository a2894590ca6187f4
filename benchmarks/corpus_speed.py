"""How fast the stores take rows and answer: the same rows and questions for each, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median

from benchmarks.corpus_stores import Store
from ingest.records import Chunk
from ingest.sinks.base import CollectionSpec, Query, Row, Stored, Vector, VectorSink
from ingest.sinks.registry import open_sink

ROWS_A_WRITE = 256  # as a job writes by default
ROUNDS = 3
SEARCHES = 60  # a round and kind
HITS = 10
COLLECTION = "speed"
Questions = Sequence[tuple[str, Vector]]


def measure(stores: Sequence[Store], rows: Sequence[Row], questions: Questions) -> dict[str, dict[str, float]]:
    """By store: upsert_rows_per_s and the median milliseconds of a search, each the median of the rounds."""
    rounds: dict[str, list[dict[str, float]]] = {store.name: [] for store in stores}
    with ExitStack() as stack:
        # Who searches is not who has written: a Milvus server lets a sink wait for what it has itself written.
        writers, searchers = (
            {store.name: stack.enter_context(open_sink(store.uri))[0] for store in stores} for _ in range(2)
        )
        for _ in range(ROUNDS):
            for store in stores:
                rounds[store.name].append(_round(writers[store.name], searchers[store.name], store, rows, questions))
    return {name: {"rows": float(len(rows)), **_medians(found)} for name, found in rounds.items()}


def _round(
    writer: VectorSink, searcher: VectorSink, store: Store, rows: Sequence[Row], questions: Questions
) -> dict[str, float]:
    with _collection(writer, rows[0].vector.shape[0]) as name:
        started = time.perf_counter()
        for start in range(0, len(rows), ROWS_A_WRITE):
            writer.upsert(name, rows[start : start + ROWS_A_WRITE])
        figures = {"upsert_rows_per_s": len(rows) / (time.perf_counter() - started)}
        writer.finish(name)
        writer.count(name)  # as a job does at its end
        for kind, query in _QUERIES.items():
            if kind == "dense" or kind in store.modes:
                figures[f"{kind}_p50_ms"] = _p50_ms(searcher, name, [query(*one) for one in questions])
    return figures


_QUERIES: dict[str, Callable[[str, Vector], Query]] = {
    "dense": lambda _, vector: Query(vector, HITS),
    "bm25": lambda text, _: Query(None, HITS, text),
    "hybrid": lambda text, vector: Query(vector, HITS, text),
}


@contextmanager
def _collection(sink: VectorSink, dimensions: int) -> Iterator[str]:
    sink.ensure(CollectionSpec(COLLECTION, dimensions, "any"))
    try:
        yield COLLECTION
    finally:
        sink.drop(COLLECTION)


def _p50_ms(sink: VectorSink, name: str, queries: Sequence[Query]) -> float:
    sink.search(name, queries[0])  # loads what the first search of a collection loads
    taken = []
    for query in queries[:SEARCHES]:
        started = time.perf_counter()
        sink.search(name, query)
        taken.append(time.perf_counter() - started)
    return median(taken) * 1000


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {figure: median(found[figure] for found in rounds) for figure in rounds[0]}


def rows_of(sink: VectorSink, collection: str) -> list[Row]:
    """What is stored, as rows to write again. Those columns that no search needs are left empty."""
    return [_row(number, stored) for number, stored in enumerate(sink.scan(collection))]


def _row(number: int, stored: Stored) -> Row:
    if stored.vector is None:
        raise ValueError("A scan with vectors has given none.")
    chunk = Chunk(
        key=stored.key,
        chunk_id=stored.chunk_id,
        source=stored.source,
        source_file=stored.source_file,
        format=stored.source_file.rpartition(".")[2],
        title=stored.heading_path[0] if stored.heading_path else "",
        heading_path=stored.heading_path,
        page_number=stored.page_number,
        page_end=stored.page_end,
        ordinal=number,
        tokens=0,
        text=stored.text,
    )
    return Row(replace(chunk, language=stored.language), stored.vector)
