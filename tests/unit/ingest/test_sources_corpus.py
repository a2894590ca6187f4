from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.records import Document
from ingest.settings import SourceSettings
from ingest.sources import corpus, corpus_rows, jsonl, parquet
from ingest.sources.base import SourceFile
from ingest.sources.corpus import read_documents, split
from ingest.sources.corpus_rows import RowError
from ingest.sources.discover import discover
from serve_app.core.errors import DocumentError

UNNAMED = SourceSettings()
NAMED = SourceSettings(text_column="body", id_column="id", title_column="name")


def corpus_of(path: Path, content: bytes) -> SourceFile:
    path.write_bytes(content)
    return discover([str(path)], SourceSettings()).files[0]


def jsonl_of(tmp_path: Path, *rows: object) -> SourceFile:
    return corpus_of(tmp_path / "faq.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def parquet_of(tmp_path: Path, columns: dict[str, object], row_group_size: int | None = None) -> SourceFile:
    path = tmp_path / "faq.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return discover([str(path)], SourceSettings()).files[0]


def read(file: SourceFile, settings: SourceSettings = UNNAMED) -> tuple[list[Document], list[RowError]]:
    found = list(read_documents(file, settings))
    return [item for item in found if isinstance(item, Document)], [item for item in found if isinstance(item, tuple)]


def texts(file: SourceFile) -> list[str]:
    return [document.blocks[0].text for document in read(file)[0]]


def test_a_line_is_a_document_named_by_its_number(tmp_path: Path) -> None:
    file = jsonl_of(tmp_path, {"text": "one"}, {"text": "二"})
    documents, errors = read(file)
    assert [(doc.part, doc.title, doc.source) for doc in documents] == [("1", "faq", file.uri), ("2", "faq", file.uri)]
    assert texts(file) == ["one", "二"]
    assert errors == []


def test_columns_can_name_text_id_and_title(tmp_path: Path) -> None:
    row = {"id": 7, "name": " Annual\nleave ", "body": "Ten days.", "text": "not this", "language": "en"}
    (document,), _ = read(jsonl_of(tmp_path, row), NAMED)
    assert (document.part, document.title, document.language) == ("7", "Annual leave", "en")
    assert document.blocks[0].text == "Ten days."
    assert document.metadata == {"text": "not this"}


def test_paragraphs_are_blocks(tmp_path: Path) -> None:
    (document,), _ = read(jsonl_of(tmp_path, {"text": "\n one\r\ntwo\r\n \r\nthree\u0000\n"}))
    assert [block.text for block in document.blocks] == ["one\ntwo", "three"]


def test_flat_columns_become_metadata_and_the_others_are_left_out(tmp_path: Path) -> None:
    row = {
        "text": "x", "year": 2024, "score": 0.5, "open": True, "team": "hr",
        "none": None, "list": [1], "object": {"a": 1}, "bad name": 1, "1st": 1, "long": "字" * 342, "huge": 2**63,
        "source": "elsewhere", "page_number": 3,
    }  # fmt: skip
    (document,), _ = read(jsonl_of(tmp_path, row))
    assert document.metadata == {"year": 2024, "score": 0.5, "open": True, "team": "hr"}


def test_metadata_ends_at_64_fields(tmp_path: Path) -> None:
    (document,), _ = read(jsonl_of(tmp_path, {"text": "x"} | {f"f{number}": number for number in range(70)}))
    assert len(document.metadata) == 64


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "SECRET',
        b'["SECRET"]',
        b'"SECRET"',
        b'{"body": "SECRET"}',
        b'{"text": null, "x": "SECRET"}',
        b'{"text": ["SECRET"]}',
        b'{"text": 5, "x": "SECRET"}',
        b'{"text": " ", "x": "SECRET"}',
        b'{"text": "SECRET \\ud800"}',
        b'{"text": "SECRET \xff"}',
        b'{"text": "SECRET", "x": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_an_error_of_that_row_only_and_is_not_repeated(tmp_path: Path, line: bytes) -> None:
    file = corpus_of(tmp_path / "faq.jsonl", b'{"text": "before"}\n' + line + b'\n{"text": "after"}')
    documents, ((part, error),) = read(file)
    assert [document.part for document in documents] == ["1", "3"]
    assert (part, error.reason) == ("2", "bad_row")
    assert "faq.jsonl, row 2" in error.message
    assert "SECRET" not in error.message


@pytest.mark.parametrize("identity", [None, "", " ", 1.5, True, ["SECRET"], "x" * 257])
def test_a_row_without_a_usable_id_is_an_error_under_its_number(tmp_path: Path, identity: object) -> None:
    _, ((part, error),) = read(jsonl_of(tmp_path, {"id": identity, "body": "SECRET"}), NAMED)
    assert (part, error.reason, "SECRET" in error.message) == ("1", "bad_row", False)


def test_a_bad_row_with_an_id_is_an_error_under_its_id(tmp_path: Path) -> None:
    _, ((part, _),) = read(jsonl_of(tmp_path, {"id": "q7", "body": None}), NAMED)
    assert part == "q7"


def test_blank_lines_are_no_documents_but_count(tmp_path: Path) -> None:
    documents, errors = read(corpus_of(tmp_path / "a.ndjson", b'\xef\xbb\xbf{"text": "x"}\r\n\r\n  \n{"text": "y"}'))
    assert [document.part for document in documents] == ["1", "4"]
    assert errors == []


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_corpus_without_rows_is_empty(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DocumentError) as error:
        read(corpus_of(tmp_path / "a.jsonl", content))
    assert error.value.reason == "empty"


def test_a_row_beyond_the_limit_is_an_error_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 16)
    monkeypatch.setattr(jsonl, "MAX_ROW_BYTES", 100)
    documents, ((part, error),) = read(jsonl_of(tmp_path, {"text": "x" * 500}, {"text": "y" * 50}))
    assert (part, error.reason) == ("1", "bad_row")
    assert [document.part for document in documents] == ["2"]


def test_a_text_of_parquet_beyond_the_limit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_rows, "MAX_ROW_BYTES", 3)
    documents, ((part, _),) = read(parquet_of(tmp_path, {"text": ["abcd", "abc"]}))
    assert ([document.part for document in documents], part) == (["2"], "1")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.text("ab\r字", max_size=40) | st.just(""), max_size=30),
    ends=st.booleans(),
    span=st.integers(1, 200),
    block=st.integers(1, 64),
)
def test_the_parts_of_a_file_hold_its_rows_once_under_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], ends: bool, span: int, block: int
) -> None:
    monkeypatch.setattr(jsonl, "SPAN_BYTES", span)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", block)
    monkeypatch.setattr(corpus, "WHOLE_BYTES", 0)
    content = "\n".join(line and json.dumps({"text": f"x{line}"}) for line in [*lines, "end"]) + "\n" * ends
    file = corpus_of(tmp_path / "a.jsonl", content.encode())
    parts = split(file)
    rows = [(document.part, document.blocks) for part in parts for document in read(part)[0]]
    assert rows == [(document.part, document.blocks) for document in read(file)[0]]
    assert [part.span[0] for part in parts[1:] if part.span] == [part.span[1] for part in parts[:-1] if part.span]


def test_a_large_file_is_cut_between_lines_about_every_16_mib(tmp_path: Path) -> None:
    line = json.dumps({"text": "x" * 100_000}).encode() + b"\n"
    parts = split(corpus_of(tmp_path / "a.jsonl", line * 400))
    sizes = [part.span[1] - part.span[0] for part in parts if part.span]
    assert [15 <= size / 2**20 <= 17 for size in sizes] == [True, True, False]
    assert sum(sizes) == len(line) * 400
    assert [part.first_row for part in parts] == [1, *(1 + sum(sizes[:n]) // len(line) for n in (1, 2))]


def test_small_corpora_and_other_files_stay_whole(tmp_path: Path) -> None:
    small = jsonl_of(tmp_path, {"text": "x"})
    other = corpus_of(tmp_path / "a.txt", b"x" * (33 * 2**20))
    assert (split(small), split(other)) == ([small], [other])


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_file_that_cannot_be_split_stays_whole_so_that_reading_it_says_why(tmp_path: Path, name: str) -> None:
    file = corpus_of(tmp_path / name, b"x" * (33 * 2**20))
    Path(file.path).unlink()
    assert split(file) == [file]
    with pytest.raises(DocumentError) as error:
        read(file)
    assert error.value.reason == "missing"


def test_a_row_of_parquet_is_a_document(tmp_path: Path) -> None:
    columns = {
        "id": ["a", "b"],
        "name": ["T", None],
        "body": pa.array(["one", "two"], pa.large_string()),
        "team": pa.array(["hr", "it"]).dictionary_encode(),
        "year": [2024, None],
        "price": [Decimal("1.50"), None],
        "day": [dt.date(2024, 5, 1), None],
        "at": pa.array([1_714_521_600_000_000_001, None], pa.timestamp("ns", "Asia/Shanghai")),
        "tags": [["x"], None],
        "ratio": [float("nan"), 0.5],
    }
    documents, errors = read(parquet_of(tmp_path, columns), NAMED)
    assert [(document.part, document.title) for document in documents] == [("a", "T"), ("b", "faq")]
    assert documents[0].metadata == {
        "team": "hr", "year": 2024, "price": 1.5, "day": "2024-05-01", "at": "2024-05-01T00:00:00",
    }  # fmt: skip
    assert documents[1].metadata == {"team": "it", "ratio": 0.5}
    assert errors == []


def test_a_row_of_parquet_without_text_is_an_error_of_that_row(tmp_path: Path) -> None:
    documents, ((part, error),) = read(parquet_of(tmp_path, {"text": ["x", None, "y"]}))
    assert ([document.part for document in documents], part, error.reason) == (["1", "3"], "2", "bad_row")


def test_text_of_parquet_that_is_not_utf8_is_an_error_of_that_row(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"c"]).buffers())
    documents, ((part, error),) = read(parquet_of(tmp_path, {"text": text}))
    assert ([document.part for document in documents], part, error.reason) == (["1", "3"], "2", "bad_row")


@pytest.mark.parametrize("columns", [{"body": ["x"]}, {"text": [1]}, {"text": [["x"]]}])
def test_parquet_without_the_text_column_is_refused_as_a_whole(tmp_path: Path, columns: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match=r"sources\.text_column") as error:
        read(parquet_of(tmp_path, columns))
    assert error.value.reason == "no_text_column"


def test_parquet_is_split_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "WHOLE_BYTES", 0)
    monkeypatch.setattr(parquet, "SPAN_BYTES", 1000)
    file = parquet_of(tmp_path, {"text": [f"{number:0100}" for number in range(50)]}, row_group_size=5)
    parts = split(file)
    assert [part.span for part in parts] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    rows = [(document.part, document.blocks) for part in parts for document in read(part)[0]]
    assert rows == [(document.part, document.blocks) for document in read(file)[0]]
    assert [part for part, _ in rows] == [str(number) for number in range(1, 51)]


def test_a_broken_parquet_file_is_corrupt(tmp_path: Path) -> None:
    good = parquet_of(tmp_path, {"text": ["x" * 1000] * 100})
    content = bytearray(Path(good.path).read_bytes())
    content[4:40] = b"\xff" * 36
    for number, broken in enumerate((b"PAR1", b"no parquet at all", bytes(content[:-20]), bytes(content))):
        with pytest.raises(DocumentError) as error:
            read(corpus_of(tmp_path / f"{number}.parquet", broken))
        assert error.value.reason == "corrupt"


def test_parquet_without_rows_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as error:
        read(parquet_of(tmp_path, {"text": pa.array([], pa.string())}))
    assert error.value.reason == "empty"
