"""Second stage: a vector for every chunk that the store does not hold yet, through the cluster's own replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ingest.embedding.bulk import open_embedder
from ingest.embedding.transport import Vector
from ingest.rows import CHUNK, EMBEDDED, FAILED, FATE, KEPT, REWRITTEN, VECTOR, vector_column
from ingest.sinks.registry import connect_sink
from ingest.work import Sealed
from serve_app.core import dimensions
from serve_app.core.types import Vectors


class EmbedChunks:
    """An actor. Adds `vector` and `fate` to every row; rows that are no chunks pass through.

    Equal texts of one batch are embedded once. A chunk whose text is stored but whose page, title or metadata have
    changed is written again with the vector it has.
    """

    def __init__(self, sealed: Sealed) -> None:
        setup = sealed.open()
        settings = setup.settings
        self._embedder = open_embedder(setup.address, setup.served, settings.slices_in_flight, settings.slice_timeout_s)
        self._sink = connect_sink(setup.sink_uri)
        self._collection = setup.physical
        self._was_empty = setup.store_was_empty
        self._size = setup.served.size(settings.dimensions)

    async def __call__(self, batch: pa.Table) -> pa.Table:
        kinds, keys, digests = (batch.column(name).to_pylist() for name in ("kind", "key", "digest"))
        chunks = [index for index, kind in enumerate(kinds) if kind == CHUNK]
        stored = await self._stored([keys[index] for index in chunks])
        fates: dict[int, str] = {
            index: KEPT if stored[keys[index]] == digests[index] else REWRITTEN
            for index in chunks
            if keys[index] in stored
        }
        vectors = np.zeros((len(batch), self._size), dtype=np.float32)
        await self._take_over(keys, [index for index, fate in fates.items() if fate == REWRITTEN], vectors, fates)
        await self._embed(batch.column("ids"), [index for index in chunks if index not in fates], vectors, fates)
        fate_column = pa.array([fates.get(index) for index in range(len(batch))], pa.string())
        done = batch.drop_columns(["ids"]).append_column(VECTOR, vector_column(vectors))
        return done.append_column(FATE, fate_column)

    async def _stored(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Digests by key, of those that an earlier run has left; what this one has written it need not look up."""
        return {} if self._was_empty else await asyncio.to_thread(self._sink.existing, self._collection, keys)

    async def _take_over(self, keys: Sequence[str], rows: list[int], vectors: Vectors, fates: dict[int, str]) -> None:
        """Stored vectors for chunks that are only written again; one that has just gone is embedded."""
        if not rows:
            return
        held: Mapping[str, Vector] = await asyncio.to_thread(
            self._sink.vectors, self._collection, [keys[row] for row in rows]
        )
        for row in rows:
            vector = held.get(keys[row])
            if vector is None:
                del fates[row]
            else:
                vectors[row] = vector

    async def _embed(self, ids: pa.ChunkedArray, rows: list[int], vectors: Vectors, fates: dict[int, str]) -> None:
        texts = {row: np.array(ids[row].values, dtype=np.int32) for row in rows}
        first: dict[bytes, int] = {}
        for row, text in texts.items():
            first.setdefault(text.tobytes(), row)
        distinct = list(first.values())
        found = dict(zip(distinct, await self._embedder.embed([texts[row] for row in distinct]), strict=True))
        for row, text in texts.items():
            vector = found[first[text.tobytes()]]
            fates[row] = FAILED if vector is None else EMBEDDED
            if vector is not None:
                vectors[row] = dimensions.cut(vector[None, :], self._size)[0]
