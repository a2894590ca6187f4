"""A workbook that is larger than what is read of one file, refused by the limits that everybody has."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from ingest.parse import tables, xlsx
from ingest.parse.guard import GuardedParser
from ingest.settings import ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

FILE = SourceFile("file:///prices.xlsx", "/prices.xlsx", "prices.xlsx", "xlsx")
ROWS = 1_000_000
ROWS_AT_A_TIME = 1000
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
WORKBOOK, SHEET = "xl/workbook.xml", "xl/worksheets/sheet1.xml"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def relation(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{OFFICE}/{kind}" Target="/{target}"/></Relationships>'
    )


PARTS = {
    "[Content_Types].xml": (
        f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/{WORKBOOK}" ContentType="{KIND}.sheet.main+xml"/>'
        f'<Override PartName="/{SHEET}" ContentType="{KIND}.worksheet+xml"/></Types>'
    ),
    "_rels/.rels": relation("officeDocument", WORKBOOK),
    WORKBOOK: (
        f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="Prices" sheetId="1" r:id="r1"/></sheets>'
        "</workbook>"
    ),
    "xl/_rels/workbook.xml.rels": relation("worksheet", SHEET),
}
SOME_ROWS = "".join(
    f"<row><c><v>{number}</v></c><c><v>{number % 7}</v></c><c><v>9</v></c></row>" for number in range(ROWS_AT_A_TIME)
).encode()


def workbook(rows: int, size: str = "", end: bytes = b"</sheetData></worksheet>") -> bytes:
    """`size`: what the sheet says of it, such as A1:C9."""
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in PARTS.items():
            archive.writestr(name, content)
        with archive.open(SHEET, "w") as sheet:
            said = f'<dimension ref="{size}"/>' if size else ""
            sheet.write(f'<worksheet xmlns="{MAIN}">{said}<sheetData>'.encode())
            for _ in range(rows // ROWS_AT_A_TIME):
                sheet.write(SOME_ROWS)
            sheet.write(end)
    return stream.getvalue()


def test_a_workbook_of_a_million_rows_is_refused_by_the_limit_on_cells_and_a_short_one_is_read() -> None:
    parser = GuardedParser(ParseSettings())
    try:
        short = parser.parse(FILE, workbook(ROWS_AT_A_TIME))
        with pytest.raises(DocumentError, match="more than 2,000,000 filled cells") as caught:
            parser.parse(FILE, workbook(ROWS, f"A1:C{ROWS}"))
    finally:
        parser.close()
    assert [block.kind for block in short.blocks] == ["heading", "table", "table"]
    assert "| 999 | 5 | 9 |" in short.blocks[-1].text
    assert caught.value.reason == "too_large"


def test_a_sheet_that_does_not_say_its_size_is_not_read_beyond_the_limit_on_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "MAX_CELLS", 100)
    with pytest.raises(DocumentError) as caught:
        xlsx.read(workbook(20 * ROWS_AT_A_TIME, end=b"<broken"))
    assert caught.value.reason == "too_large"  # who reads to the end finds it corrupt


@pytest.mark.parametrize("size", ["", "A1:A1", "A1:XFD1048576"])
def test_a_sheet_is_read_whole_whatever_it_says_of_its_size(size: str) -> None:
    blocks = xlsx.read(workbook(ROWS_AT_A_TIME, size)).blocks
    assert "| 0 | 0 | 9 |" in blocks[1].text.splitlines()[0]
    assert blocks[-1].text.splitlines()[-1] == "| 999 | 5 | 9 |"
