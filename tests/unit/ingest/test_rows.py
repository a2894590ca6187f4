from __future__ import annotations

import numpy as np
import pyarrow as pa

from ingest.records import Chunk
from ingest.rows import CHUNKS, chunk_table, error_table, to_chunk
from serve_app.core.errors import DocumentError

CHUNK = Chunk(
    "k1", "a_0001", "file:///hr/a.md", "a.md", "md", "A", heading_path=("One", "Two"), page_number=None, page_end=None,
    ordinal=0, tokens=2, text="text",
)  # fmt: skip
IDS = np.array([1, 2], dtype=np.int32)


def test_a_chunk_comes_back_from_its_row_as_it_was() -> None:
    (row,) = chunk_table([CHUNK], [IDS]).to_pylist()
    assert to_chunk(row) == CHUNK
    assert (row["chunks_in_file"], row["ids"]) == (1, [1, 2])


def test_a_row_of_every_kind_names_the_document_it_belongs_to() -> None:
    error = error_table("file:///hr/b.md", "b.md", DocumentError("It is empty.", reason="empty"))
    table = pa.concat_tables([chunk_table([CHUNK], [IDS]), error])
    assert table.schema == CHUNKS
    assert table.column("source").to_pylist() == ["file:///hr/a.md", "file:///hr/b.md"]
    assert table.column("reason").to_pylist() == [None, "empty"]
