"""Second and third stage in one actor: a batch is embedded, then written, while the next ones are being embedded."""

from __future__ import annotations

import asyncio

import pyarrow as pa

from ingest.stages.embed import EmbedChunks
from ingest.stages.sharing import be_nice
from ingest.stages.write import WriteChunks
from ingest.work import Sealed


class EmbedAndWrite:
    """An actor. Takes what ParseAndChunk gives, returns receipts.

    Both stages mostly wait, for the replicas and for the store. One process for the two saves the start of another,
    which costs more CPU time than thousands of chunks, and the way of every vector through the object store.
    """

    def __init__(self, sealed: Sealed, niceness: int = 0) -> None:
        be_nice(niceness)
        self._embed = EmbedChunks(sealed)
        self._write = WriteChunks(sealed)
        self._writing = asyncio.Lock()  # a sink's writes take turns

    async def __call__(self, batch: pa.Table) -> pa.Table:
        embedded = await self._embed(batch)
        async with self._writing:
            return await asyncio.to_thread(self._write, embedded)
