"""Word documents and Excel workbooks, made here so that every case is in sight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from docx import Document as new_document
from docx.document import Document as WordDocument
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from openpyxl import Workbook

from ingest.parse import docx as word_format
from ingest.parse import xlsx as excel_format
from ingest.parse.numbering import chinese_numeral, roman_numeral
from ingest.parse.parsed import Parsed
from ingest.records import Block
from serve_app.core.errors import DocumentError


def saved(file: WordDocument | Workbook) -> bytes:
    buffer = BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def word(write: Callable[[WordDocument], object]) -> list[Block]:
    document = new_document()
    write(document)
    return list(word_format.read(saved(document)).blocks)


def workbook(*rows: list[object]) -> Workbook:
    book = Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in rows:
        sheet.append(row)
    return book


def excel(*rows: list[object]) -> list[Block]:
    return list(excel_format.read(saved(workbook(*rows))).blocks)


def damaged(archive: bytes, part: str) -> bytes:
    buffer = BytesIO()
    with ZipFile(BytesIO(archive)) as old, ZipFile(buffer, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, b"<broken" if name == part else old.read(name))
    return buffer.getvalue()


def paragraph_xml(body: str) -> object:
    return parse_xml(f"<w:p {nsdecls('w')}>{body}</w:p>")


def heading(level: int, text: str) -> Block:
    return Block("heading", text, level)


def test_heading_styles_give_the_outline() -> None:
    def write(document: WordDocument) -> None:
        document.add_heading("Scope", 1)
        document.add_paragraph("Text.")
        document.add_heading("Terms", 2)

    assert word(write) == [heading(1, "Scope"), Block("text", "Text."), heading(2, "Terms")]


def test_the_title_stands_above_the_headings() -> None:
    def write(document: WordDocument) -> None:
        document.add_heading("Handbook", 0)
        document.add_heading("Scope", 1)

    parsed = word_format.read(saved_with(write))
    assert (parsed.title, parsed.blocks) == ("Handbook", (heading(1, "Handbook"), heading(2, "Scope")))


def saved_with(write: Callable[[WordDocument], object]) -> bytes:
    document = new_document()
    write(document)
    return saved(document)


def test_a_style_based_on_a_heading_is_a_heading() -> None:
    def write(document: WordDocument) -> None:
        style = document.styles.add_style("Clause", 1)
        style.base_style = document.styles["Heading 2"]
        document.add_paragraph("Liability", style="Clause")

    assert word(write) == [heading(2, "Liability")]


def test_an_outline_level_makes_a_heading_and_body_level_unmakes_one() -> None:
    def write(document: WordDocument) -> None:
        for style, level in (("Normal", 1), ("Heading 1", 9)):
            paragraph = document.add_paragraph("Liability", style=style)
            paragraph._p.get_or_add_pPr().append(parse_xml(f'<w:outlineLvl {nsdecls("w")} w:val="{level}"/>'))

    assert word(write) == [heading(2, "Liability"), Block("text", "Liability")]


def test_a_long_paragraph_in_a_heading_style_is_text() -> None:
    assert word(lambda document: document.add_heading("long " * 50, 1)) == [Block("text", ("long " * 50).strip())]


def test_headings_are_guessed_in_a_document_without_any_style() -> None:
    def write(document: WordDocument) -> None:
        document.add_paragraph("采购合同").alignment = WD_ALIGN_PARAGRAPH.CENTER
        for text in (
            "第一条 标的",
            "甲方向乙方采购软管。",
            "名单：",
            "一、张三",
            "二、李四",
            "2.1 Delivery",
            "By ship.",
        ):
            document.add_paragraph(text)

    headings = [block for block in word(write) if block.kind == "heading"]
    assert headings == [heading(1, "采购合同"), heading(5, "第一条 标的"), heading(3, "2.1 Delivery")]


def test_tables_stand_where_they_were_and_merged_cells_are_repeated() -> None:
    def write(document: WordDocument) -> None:
        document.add_paragraph("before")
        table = document.add_table(3, 3)
        for row, texts in zip(
            table.rows, (("Name", "Days", ""), ("Ann", "20", "a|b"), ("", "30", "two\nlines")), strict=True
        ):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        table.cell(0, 1).merge(table.cell(0, 2))
        table.cell(1, 0).merge(table.cell(2, 0))
        document.add_paragraph("after")

    rows = "| Name | Days | Days |\n| --- | --- | --- |\n| Ann | 20 | a\\|b |\n| Ann | 30 | two lines |"
    assert word(write) == [Block("text", "before"), Block("table", rows), Block("text", "after")]


def test_a_cell_that_claims_to_span_millions_does_not_fill_the_memory() -> None:
    def write(document: WordDocument) -> None:
        table = document.add_table(2, 2)
        for number, cell in enumerate(table._cells):
            cell.text = str(number)
        table.cell(0, 0)._tc.grid_span = 99_999_999

    assert len(word(write)[0].text) < 10_000


def test_a_box_around_text_is_no_table() -> None:
    def write(document: WordDocument) -> None:
        document.add_table(1, 1).cell(0, 0).text = "Note: keep dry."

    assert word(write) == [Block("text", "Note: keep dry.")]


def test_bullets_are_the_lines_of_one_list() -> None:
    def write(document: WordDocument) -> None:
        for text in ("one", "two"):
            document.add_paragraph(text, style="List Bullet")
        document.add_paragraph("after")

    assert word(write) == [Block("text", "- one\n- two"), Block("text", "after")]


def test_numbers_that_word_counts_are_part_of_the_text() -> None:
    def write(document: WordDocument) -> None:
        numbering = document.part.numbering_part.element
        levels = "".join(
            f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/>'
            f'<w:numFmt w:val="{style}"/><w:lvlText w:val="{text}"/></w:lvl>'
            for level, style, text in ((0, "chineseCounting", "第%1条"), (1, "decimal", "%2.%3"), (2, "decimal", "%3)"))
        )
        numbering.insert(0, parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="77">{levels}</w:abstractNum>'))
        numbering.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="77"><w:abstractNumId w:val="77"/></w:num>'))
        for level, text in ((0, "保密"), (2, "a"), (2, "b"), (0, "付款"), (2, "c")):
            properties = document.add_paragraph(text)._p.get_or_add_pPr()
            properties.append(
                parse_xml(f'<w:numPr {nsdecls("w")}><w:ilvl w:val="{level}"/><w:numId w:val="77"/></w:numPr>')
            )

    assert [block.text for block in word(write)] == ["第一条 保密", "1) a", "2) b", "第二条 付款", "1) c"]


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "一"), (10, "十"), (12, "十二"), (20, "二十"), (103, "一百零三"), (110, "一百一十")]
)
def test_chinese_numerals_are_written_as_readers_count(number: int, expected: str) -> None:
    assert chinese_numeral(number) == expected


@pytest.mark.parametrize(("number", "expected"), [(1, "i"), (4, "iv"), (19, "xix"), (1994, "mcmxciv")])
def test_roman_numerals_subtract(number: int, expected: str) -> None:
    assert roman_numeral(number) == expected


def test_tracked_insertions_are_text_and_deletions_are_not() -> None:
    def write(document: WordDocument) -> None:
        document.element.body.insert(
            0,
            paragraph_xml(
                "<w:r><w:t>30</w:t></w:r><w:del><w:r><w:delText> hours</w:delText></w:r></w:del>"
                "<w:moveFrom><w:r><w:t> moved</w:t></w:r></w:moveFrom>"
                "<w:ins><w:r><w:tab/><w:t>days</w:t><w:br/><w:t>off</w:t></w:r></w:ins>"
            ),
        )

    assert word(write) == [Block("text", "30\tdays\noff")]


def test_content_controls_and_text_boxes_are_read() -> None:
    def write(document: WordDocument) -> None:
        inner = "<w:p><w:r><w:t>controlled</w:t></w:r></w:p>"
        document.element.body.insert(
            0, parse_xml(f"<w:sdt {nsdecls('w')}><w:sdtContent>{inner}</w:sdtContent></w:sdt>")
        )
        boxed = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
        document.element.body.insert(1, paragraph_xml(f"<w:r><w:t>anchor</w:t><w:pict>{boxed}</w:pict></w:r>"))

    assert [block.text for block in word(write)] == ["controlled", "anchor", "boxed"]


def test_page_headers_and_the_table_of_contents_are_left_out() -> None:
    def write(document: WordDocument) -> None:
        document.sections[0].header.paragraphs[0].text = "Confidential"
        document.styles.add_style("toc 1", 1)
        document.add_paragraph("1 Scope\t3", style="toc 1")
        document.add_paragraph("text")

    assert word(write) == [Block("text", "text")]


def test_each_sheet_is_a_heading_and_a_table() -> None:
    book = workbook(["Article", "Price"], ["Hose", 126], ["Pump", 12.5])
    book.create_sheet("Services").append(["Setup", "EUR 890"])
    book["Services"].append(["Training", "EUR 420"])
    assert excel_format.read(saved(book)) == Parsed(
        None,
        (
            heading(1, "Prices"),
            Block("table", "| Article | Price |\n| --- | --- |\n| Hose | 126 |\n| Pump | 12.5 |"),
            heading(1, "Services"),
            Block("table", "| Setup | EUR 890 |\n| --- | --- |\n| Training | EUR 420 |"),
        ),
    )


def test_empty_rows_and_columns_fall_away_and_captions_stand_before_the_table() -> None:
    blocks = excel(
        [None, None], [None, "Price list 2025"], [], [None, "Article", None, "Price"], [None, "Hose", None, 5], []
    )
    assert blocks[1:] == [
        Block("text", "Price list 2025"),
        Block("table", "| Article | Price |\n| --- | --- |\n| Hose | 5 |"),
    ]


def test_a_single_column_is_text() -> None:
    assert excel(["one"], ["two"])[1:] == [Block("text", "one"), Block("text", "two")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (date(2025, 3, 1), "2025-03-01"),
        (datetime(2025, 3, 1), "2025-03-01"),
        (datetime(2025, 3, 1, 9, 30), "2025-03-01 09:30:00"),
        (time(9, 30), "09:30:00"),
        (3.0, "3"),
        (0.1 + 0.2, "0.3"),
        (True, "True"),
        ("#N/A", ""),
        ("  a\nb ", "a b"),
    ],
)
def test_values_are_shown_as_a_reader_knows_them(value: object, shown: str) -> None:
    row = excel(["name", "value"], ["x", value], ["last", "last"])[1].text.split("\n")[2]
    assert row == f"| x | {shown} |"


def test_percentages_are_shown_as_percentages() -> None:
    book = workbook(["name", "rate"], ["tax", 0.07])
    book["Prices"]["B2"].number_format = "0.0%"
    assert excel_format.read(saved(book)).blocks[1].text.endswith("| tax | 7% |")


def test_a_hidden_sheet_stays_hidden() -> None:
    book = workbook(["a", "b"], [1, 2])
    hidden = book.create_sheet("Salaries")
    hidden.append(["secret", "secret"])
    hidden.sheet_state = "hidden"
    assert "secret" not in str(excel_format.read(saved(book)).blocks)


def test_merged_cells_do_not_disturb_the_rows() -> None:
    book = workbook(["Article", "Price"], ["Hose", 5], ["Pump", 6])
    book["Prices"].merge_cells("A2:A3")
    assert excel_format.read(saved(book)).blocks[1].text.endswith("| Hose | 5 |\n|  | 6 |")


@pytest.mark.parametrize(
    ("read", "content", "main"),
    [
        (word_format.read, saved_with(lambda document: document.add_paragraph("text")), "word/document.xml"),
        (excel_format.read, saved(workbook(["a", "b"], [1, 2])), "xl/workbook.xml"),
    ],
)
def test_a_damaged_part_makes_the_file_corrupt(read: Callable[[bytes], Parsed], content: bytes, main: str) -> None:
    for archive in (damaged(content, "[Content_Types].xml"), damaged(content, main), content[: len(content) // 2]):
        with pytest.raises(DocumentError) as caught:
            read(archive)
        assert caught.value.reason == "corrupt"


def test_an_archive_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.parse.archives._MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DocumentError) as caught:
        excel_format.read(saved(workbook(["a", "b"])))
    assert caught.value.reason == "too_large"
