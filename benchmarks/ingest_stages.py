"""Every stage of an ingestion alone, one after the other, in a process that has joined the cluster.

The stages are those of the product, called as Ray Data calls them, but with nothing else going on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.ingest_engine import SLICES, save_slices
from benchmarks.ingest_watch import busy_cpu_s
from ingest.embedding.base import HandleAddress, describe
from ingest.embedding.bulk import BulkEmbedder
from ingest.embedding.transport import Vector
from ingest.rows import CHUNK
from ingest.settings import IngestSettings
from ingest.sinks.base import CollectionSpec
from ingest.sinks.registry import open_sink
from ingest.sources.discover import discover
from ingest.stages.embed import EmbedChunks
from ingest.stages.parse import ParseAndChunk
from ingest.stages.write import WriteChunks
from ingest.work import Sealed, StageSetup, WorkUnit
from serve_app.core.types import TokenIds

BATCHES_AT_ONCE = 4  # what Ray Data keeps under way in an async stage


class Stopwatch:
    """How long each stage took, in seconds, and the machine's CPU time meanwhile."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self._started = (0.0, 0.0)

    def start(self) -> None:
        self._started = (time.perf_counter(), busy_cpu_s())

    def stop(self, stage: str) -> None:
        wall, cpu = self._started
        self.figures[f"{stage}_s"] = time.perf_counter() - wall
        self.figures[f"{stage}_cpu_s"] = busy_cpu_s() - cpu


@dataclass(slots=True)
class Recorder:
    """A way to nowhere: it remembers the slices that would have been sent."""

    dimensions: int
    slices: list[list[TokenIds]] = field(default_factory=list)

    async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:  # noqa: ARG002 -- the port's
        self.slices.append(texts)
        return list(np.zeros((len(texts), self.dimensions), dtype=np.float32))

    async def close(self) -> None:
        """There is nothing to close."""


class Stages:
    """`round` may be called again and again; each has a collection of its own, gone when it ends.

    The first leaves the slices that the embed stage sends in the folder.
    """

    def __init__(self, model: str, corpus: Path, folder: Path) -> None:
        self._settings = IngestSettings()
        self._address = HandleAddress(model)
        self._served = describe(self._address)
        self._corpus, self._folder = corpus, folder
        self._numbers = count(1)
        self._runner = asyncio.Runner()  # a handle belongs to the event loop of its first call

    def round(self) -> dict[str, float]:
        watch, number = Stopwatch(), next(self._numbers)
        with open_sink(f"milvus-lite:{self._folder / 'alone'}") as (sink, uri):
            name = f"round_{number}"
            sink.ensure(CollectionSpec(name, self._served.native_dimensions, self._served.name))
            run_id = str(number)
            setup = StageSetup(self._settings, self._address, self._served, uri, name, "", run_id, store_was_empty=True)
            batches = self._parse(setup, watch)
            if not (self._folder / SLICES).exists():
                self._runner.run(self._record(batches))
            done = self._runner.run(self._embed(setup, batches, watch))
            _write(setup, done, watch)
            watch.figures["stored"] = sink.count(name)
            sink.drop(name)
        rows = pa.concat_tables(batches)
        is_chunk = [kind == CHUNK for kind in rows.column("kind").to_pylist()]
        tokens = sum(token or 0 for token in rows.column("tokens").to_pylist())
        return {**watch.figures, "chunks": sum(is_chunk), "tokens": tokens}

    def _parse(self, setup: StageSetup, watch: Stopwatch) -> list[pa.Table]:
        """Batches as the next stage takes them. The first file starts the parser's process and is not timed."""
        files = discover((str(self._corpus),), self._settings.sources).files
        units = [pa.table({"unit": [WorkUnit(file, file.uri).to_json()]}) for file in files]
        stage = ParseAndChunk(Sealed(setup))
        list(stage(units[0]))
        watch.start()
        tables = [table for unit in units for table in stage(unit)]
        watch.stop("parse")
        return list(_rebatched(tables, self._settings.rows_per_write))

    async def _embed(self, setup: StageSetup, batches: Sequence[pa.Table], watch: Stopwatch) -> list[pa.Table]:
        stage = EmbedChunks(Sealed(setup))
        places = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def one(batch: pa.Table) -> pa.Table:
            async with places:
                return await stage(batch)

        watch.start()
        done = await asyncio.gather(*(one(batch) for batch in batches))
        watch.stop("embed")
        return done

    async def _record(self, batches: Sequence[pa.Table]) -> None:
        recorder = Recorder(self._served.native_dimensions)
        embedder = BulkEmbedder(recorder, self._settings.slices_in_flight, self._settings.slice_timeout_s)
        for batch in batches:
            texts = [np.array(ids, dtype=np.int32) for ids in batch.column("ids").to_pylist() if ids]
            await embedder.embed(texts)
        save_slices(self._folder / SLICES, recorder.slices)


def _write(setup: StageSetup, batches: Sequence[pa.Table], watch: Stopwatch) -> None:
    stage = WriteChunks(Sealed(setup))
    watch.start()
    for batch in batches:
        stage(batch)
    watch.stop("write")


def _rebatched(tables: Sequence[pa.Table], rows: int) -> Iterator[pa.Table]:
    whole = pa.concat_tables(tables).combine_chunks()
    return (whole.slice(start, rows) for start in range(0, len(whole), rows))
