"""The stages that Ray Data runs, each an actor: parse and chunk ▸ embed ▸ write. Batches are Arrow tables."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.chunk import Chunker
from ingest.discover import SourceFile
from ingest.parse.registry import parse
from ingest.rows import IS_STORED, VECTOR, chunk_table, error_table, to_chunk, vector_column, vectors_of
from ingest.settings import IngestSettings
from ingest.sinks.base import Row
from ingest.sinks.registry import connect_sink
from serve_app.core import dimensions
from serve_app.core.errors import DocumentError, EngineFailed, Overloaded, ReplicaUnavailable
from serve_app.core.packing import pack
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Priority, Slice, TokenIds, Vectors
from serve_app.dispatch.slice_client import embedder_handle, slice_sender
from serve_app.model.tokenizer import TextTokenizer

Vector = NDArray[np.float32]  # (dimensions,)
SLICE_TOKENS = 16_384  # one full step of a GPU replica
SLICE_TEXTS = 256
NOT_EMBEDDED = (
    "not_embedded",
    "The engine gives no usable vector for a passage of this file; its other passages are stored.",
)
RECEIPT = pa.schema(
    {
        "source": pa.string(),
        "source_file": pa.string(),
        "chunks_in_file": pa.int32(),
        "keys": pa.list_(pa.string()),
        "embedded": pa.int32(),
        "tokens": pa.int64(),
        "reason": pa.string(),
        "message": pa.string(),
    }
)


class ParseAndChunk:
    """Files in (path, source_file, format, size), chunks with their token ids out. A bad file becomes one error row."""

    def __init__(self, profile: ModelProfile, settings: IngestSettings) -> None:
        self._tokenizer = TextTokenizer(profile)
        self._chunker = Chunker(
            count=lambda texts: [len(ids) for ids in self._tokenizer.encode(texts)],
            max_tokens=min(settings.chunk_tokens, profile.max_tokens),
            min_tokens=settings.merge_below_tokens,
        )

    def __call__(self, files: pa.Table) -> pa.Table:
        return pa.concat_tables([self._chunks_of(SourceFile(**row)) for row in files.to_pylist()])

    def _chunks_of(self, file: SourceFile) -> pa.Table:
        try:
            chunks = self._chunker.chunks(parse(file))
            if not chunks:
                raise DocumentError(f"{file.source_file} holds no text to embed.", reason="empty")
        except DocumentError as error:
            return error_table(file.source, file.source_file, error)
        return chunk_table(chunks, self._tokenizer.encode([chunk.text for chunk in chunks]))


class EmbedChunks:
    """Adds `vector` to every chunk that the sink does not hold yet, through the cluster's own replicas."""

    def __init__(self, profile: ModelProfile, settings: IngestSettings, sink_uri: str, collection: str) -> None:
        self._send = slice_sender(embedder_handle(profile.name))
        self._settings = settings
        self._profile = profile
        self._sink = connect_sink(sink_uri)
        self._collection = collection
        self._places = asyncio.Semaphore(settings.slices_in_flight)

    async def __call__(self, batch: pa.Table) -> pa.Table:
        keys = batch.column("key").to_pylist()
        stored = await asyncio.to_thread(self._sink.existing, self._collection, [key for key in keys if key])
        wanted = [index for index, key in enumerate(keys) if key is not None and key not in stored]
        column = batch.column("ids")
        found = await self._embed([np.array(column[index].values, dtype=np.int32) for index in wanted])
        size = dimensions.check(self._profile, self._settings.dimensions)
        vectors = np.zeros((len(batch), size), dtype=np.float32)
        failed = set()
        for index, vector in zip(wanted, found, strict=True):
            if vector is None:
                failed.add(index)
            else:
                vectors[index] = dimensions.cut(vector[None, :], size)[0]
        is_stored = pa.array([key is not None and key in stored for key in keys])
        told = _with_failures(batch.drop_columns(["ids"]), failed)
        return told.append_column(VECTOR, vector_column(vectors)).append_column(IS_STORED, is_stored)

    async def _embed(self, texts: list[TokenIds]) -> list[Vector | None]:
        """One vector a text, in order; None for a text the engine cannot embed."""
        ranges = pack([len(text) for text in texts], SLICE_TOKENS, SLICE_TEXTS)
        parts = [asyncio.create_task(self._isolate(texts[part.start : part.stop])) for part in ranges]
        return [vector for part in await asyncio.gather(*parts) for vector in part]

    async def _isolate(self, texts: list[TokenIds]) -> list[Vector | None]:
        """Halve a slice that fails until the one text is found that makes it fail."""
        try:
            return list(await self._send_patiently(texts))
        except EngineFailed:
            if len(texts) == 1:
                return [None]
        middle = len(texts) // 2
        return [*await self._isolate(texts[:middle]), *await self._isolate(texts[middle:])]

    async def _send_patiently(self, texts: list[TokenIds]) -> Vectors:
        """A full or missing replica slows the job down; only the timeout ends it."""
        async with self._places, asyncio.timeout(self._settings.slice_timeout_s):
            while True:
                try:
                    slice_ = Slice.of(texts, Priority.BULK, self._settings.slice_timeout_s)
                    return (await self._send(slice_)).vectors
                except (Overloaded, ReplicaUnavailable) as error:
                    await asyncio.sleep(error.retry_after_s or 1.0)


def _with_failures(batch: pa.Table, failed: set[int]) -> pa.Table:
    """The batch with the reason written beside every chunk that could not be embedded."""
    if not failed:
        return batch
    for name, value in zip(("reason", "message"), NOT_EMBEDDED, strict=True):
        told = batch.column(name).to_pylist()
        column = pa.array([value if index in failed else old for index, old in enumerate(told)], pa.string())
        batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    return batch


class WriteChunks:
    """Upserts what was embedded; gives back one receipt a file and batch."""

    def __init__(self, sink_uri: str, collection: str) -> None:
        self._sink = connect_sink(sink_uri)
        self._collection = collection

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.drop_columns([VECTOR]).to_pylist()
        vectors = vectors_of(batch)
        fresh = [Row(to_chunk(row), vector) for row, vector in zip(rows, vectors, strict=True) if _is_fresh(row)]
        if fresh:
            self._sink.upsert(self._collection, fresh)
        return pa.Table.from_pylist(_receipts(rows), schema=RECEIPT)


def _receipts(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    by_file: dict[object, list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        by_file[row["source"]].append(row)
    return [_receipt(mine) for mine in by_file.values()]


def _receipt(rows: list[dict[str, object]]) -> dict[str, object]:
    first = rows[0]
    fresh = [row for row in rows if _is_fresh(row)]
    failure = next((row for row in rows if row["reason"] is not None), first)
    return {
        "source": first["source"],
        "source_file": first["source_file"],
        "chunks_in_file": first["chunks_in_file"],
        "keys": [row["key"] for row in rows if row["key"] is not None and row["reason"] is None],
        "embedded": len(fresh),
        "tokens": sum(row["tokens"] for row in fresh if isinstance(row["tokens"], int)),
        "reason": failure["reason"],
        "message": failure["message"],
    }


def _is_fresh(row: dict[str, object]) -> bool:
    """Whether the row is a chunk that was embedded just now."""
    return row["key"] is not None and row["reason"] is None and not row[IS_STORED]
