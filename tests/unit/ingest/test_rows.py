from __future__ import annotations

from dataclasses import fields

import numpy as np

from ingest.records import Chunk
from ingest.rows import CHUNK_COLUMNS, COLUMNS, VECTOR, chunk_row, table_of, to_chunk, vector_column, vectors_of

CHUNK = Chunk(
    "k1", "a_0001", "file:///hr/a.md", "a.md", "md", "A", heading_path=("One", "Two"), page_number=None, page_end=None,
    ordinal=0, tokens=2, text="text", context="A > One", start=3, end=7, part="7", language="en", file_hash="00ff",
    metadata={"year": 2026, "site": "北", "is_final": True, "ratio": 0.5},
)  # fmt: skip
IDS = np.array([1, 2], dtype=np.int32)


def test_every_field_of_a_chunk_has_a_column() -> None:
    assert {field.name for field in fields(Chunk)} == {*CHUNK_COLUMNS, "source", "source_file"}


def test_a_chunk_comes_back_from_its_row_as_it_was() -> None:
    table = table_of([chunk_row(CHUNK, IDS, "d1")])
    (row,) = table.to_pylist()
    assert table.schema == COLUMNS
    assert to_chunk(row) == CHUNK
    assert (row["ids"], row["digest"]) == ([1, 2], "d1")


def test_vectors_travel_in_a_column_and_come_back() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    table = table_of([chunk_row(CHUNK, IDS, "d")] * 3).append_column(VECTOR, vector_column(vectors))
    assert np.array_equal(vectors_of(table), vectors)
    assert np.array_equal(vectors_of(table.slice(1, 1)), vectors[1:2])
