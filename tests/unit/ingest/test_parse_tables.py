"""CSV and TSV, and tables that are too long for one block or for any."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from ingest.parse import delimited, tables, xlsx
from ingest.parse.tables import CellLimit, long_table_blocks
from ingest.records import Block
from serve_app.core.errors import DocumentError

CELLS = st.text(st.characters(categories=["L", "N"], max_codepoint=0x9FFF), min_size=1, max_size=8)


def table(content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    (block,) = delimited.read(raw).blocks
    return block.text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    content = "name;price\nHose, short;3\nPump, long;4\n".replace(";", delimiter).replace(", ", " ")
    assert table(content).startswith("| name | price |\n| --- | --- |\n| Hose short | 3 |")


def test_a_decimal_comma_is_no_delimiter() -> None:
    assert table("名称;价格\n水泵;3,5\n阀门;4,1\n").endswith("| 水泵 | 3,5 |\n| 阀门 | 4,1 |")


def test_a_table_in_gb18030_is_read() -> None:
    assert table("名称,价格\n水泵,三百元\n阀门,四百元\n软管,五百元\n".encode("gb18030")).startswith("| 名称 | 价格 |")


def test_excels_hint_about_the_delimiter_is_no_row() -> None:
    assert table("sep=|\na,b|c\n1,2|3\n") == "| a,b | c |\n| --- | --- |\n| 1,2 | 3 |"


def test_a_quoted_field_keeps_its_delimiters_and_loses_its_line_breaks() -> None:
    assert table('name,note\nHose,"short, with\na bend"\n').endswith("| Hose | short, with a bend |")


def test_a_quote_that_is_never_closed_is_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_MAX_FIELD", 100)
    with pytest.raises(DocumentError) as caught:
        delimited.read(b'a,b\n1,"2' + b"x,y\n" * 100)
    assert caught.value.reason == "corrupt"


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=2, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_whatever_was_written_with_a_delimiter_is_read_back(rows: list[list[str]], delimiter: str) -> None:
    written = StringIO()
    csv.writer(written, delimiter=delimiter).writerows(rows)
    lines = table(written.getvalue()).split("\n")
    assert [line[2:-2].split(" | ") for line in (lines[0], *lines[2:])] == rows


def test_a_long_table_comes_in_blocks_that_each_have_the_header() -> None:
    blocks = list(long_table_blocks([["name", "price"], *([f"part {row}", str(row)] for row in range(1200))]))
    assert [block.text.count("\n") for block in blocks] == [501, 501, 201]
    assert {block.text.split("\n")[0] for block in blocks} == {"| name | price |"}
    assert "| part 500 | 500 |" in blocks[1].text


def test_empty_rows_and_no_rows_give_no_block() -> None:
    assert list(long_table_blocks([])) == list(long_table_blocks([["", " "], []])) == []


def test_too_many_cells_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_CELLS", 5)
    assert len(list(CellLimit().counted([["a", ""], ["b", "c", ""], ["d", "e"]]))) == 3
    with pytest.raises(DocumentError, match="5 filled cells") as caught:
        list(CellLimit().counted([["a", "b"]] * 3))
    assert caught.value.reason == "too_large"


@pytest.fixture(scope="module")
def long_workbook() -> bytes:
    """Two sheets of 1,200 rows."""
    book = Workbook(write_only=True)
    for name in ("North", "South"):
        sheet = book.create_sheet(name)
        sheet.append(["Prices of 2024"])
        sheet.append(["part", "price"])
        for row in range(1200):
            sheet.append([f"{name} part {row}", row])
    buffer = BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_a_long_sheet_comes_in_blocks_under_its_name(long_workbook: bytes) -> None:
    blocks = xlsx.read(long_workbook).blocks
    assert [block.text for block in blocks if block.kind == "heading"] == ["North", "South"]
    assert [block.text for block in blocks if block.kind == "text"] == ["Prices of 2024"] * 2
    assert {block.text.split("\n")[0] for block in blocks if block.kind == "table"} == {"| part | price |"}
    assert [block.kind for block in blocks].count("table") == 6


def test_the_cells_of_all_sheets_count_together(long_workbook: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_CELLS", 4_000)
    with pytest.raises(DocumentError) as caught:
        xlsx.read(long_workbook)
    assert caught.value.reason == "too_large"


def test_blocks_come_before_the_table_ends() -> None:
    endless = chain([["name", "price"]], repeat(["part", "1"]))
    assert next(long_table_blocks(endless)).text.count("\n") == 501


def test_a_single_column_of_cells_is_text() -> None:
    assert list(delimited.read(b"first\nsecond\n").blocks) == [Block("text", "first\nsecond")]
