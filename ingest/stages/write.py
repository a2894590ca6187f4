"""Last stage: what is new goes into the store, and the driver is told."""

from __future__ import annotations

import pyarrow as pa

from ingest.receipts import receipts_table
from ingest.rows import EMBEDDED, FATE, REWRITTEN, VECTOR, to_chunk, vectors_of
from ingest.sinks.base import Row
from ingest.sinks.registry import connect_sink
from ingest.work import Sealed


class WriteChunks:
    """An actor. Takes what EmbedChunks gives, returns one receipt for every source in the batch."""

    def __init__(self, sealed: Sealed) -> None:
        setup = sealed.open()
        self._sink = connect_sink(setup.sink_uri)
        self._setup = setup

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.drop_columns([VECTOR]).to_pylist()
        fresh = [
            Row(to_chunk(row), vector, self._setup.tenant, self._setup.run_id, row["digest"])
            for row, vector in zip(rows, vectors_of(batch), strict=True)
            if row[FATE] in (EMBEDDED, REWRITTEN)
        ]
        if fresh:
            self._sink.upsert(self._setup.physical, fresh)
        return receipts_table(rows)
