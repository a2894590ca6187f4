"""What sends an ingestion's chunks to the replicas, alone, in a process that has joined the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.engine import random_texts
from benchmarks.gpu.shapes import read_shape
from ingest.embedding.base import HandleAddress, describe
from ingest.embedding.bulk import BulkEmbedder, open_embedder
from ingest.settings import IngestSettings
from serve_app.core.errors import SetupError
from serve_app.core.types import TokenIds

CALLS_AT_ONCE = 4  # of `embed`, as an ingestion has batches under way


class Stage:
    """The embedder of an ingestion, on an event loop that stays: a handle belongs to the one of its first call."""

    def __init__(self, model: str) -> None:
        address = HandleAddress(model)
        served, settings = describe(address), IngestSettings()
        if served.profile is None:
            raise SetupError(f"The cluster does not say where the checkpoint of {model} is.")
        self._shape, self._end = read_shape(Path(served.profile.path)), served.profile.end_token_id or 0
        self._embedder: BulkEmbedder = open_embedder(
            address, served, settings.slices_in_flight, settings.slice_timeout_s
        )
        self._rows = settings.rows_per_write
        self._runner = asyncio.Runner()
        self._seed = 1000

    def run(self, lengths: Sequence[int], seconds: float) -> dict[str, float]:
        """Texts and tokens that were embedded, and the seconds it took."""
        return self._runner.run(self._run(lengths, seconds))

    async def _run(self, lengths: Sequence[int], seconds: float) -> dict[str, float]:
        started, done = time.perf_counter(), [0, 0]

        async def one() -> None:
            while time.perf_counter() - started < seconds:
                batch = self._batch(lengths)
                await self._embedder.embed(batch)
                done[0] += len(batch)
                done[1] += sum(map(len, batch))

        await asyncio.gather(*(one() for _ in range(CALLS_AT_ONCE)))
        return {"texts": done[0], "tokens": done[1], "seconds": time.perf_counter() - started}

    def _batch(self, lengths: Sequence[int]) -> list[TokenIds]:
        self._seed += 1
        return list(random_texts(lengths, self._rows, self._shape, self._end, self._seed))
