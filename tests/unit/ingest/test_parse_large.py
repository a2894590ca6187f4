"""A workbook that is larger than what is read of one file, refused by the limits that everybody has."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

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


def workbook(rows: int) -> bytes:
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in PARTS.items():
            archive.writestr(name, content)
        with archive.open(SHEET, "w") as sheet:
            sheet.write(f'<worksheet xmlns="{MAIN}"><dimension ref="A1:C{rows}"/><sheetData>'.encode())
            for _ in range(rows // ROWS_AT_A_TIME):
                sheet.write(SOME_ROWS)
            sheet.write(b"</sheetData></worksheet>")
    return stream.getvalue()


def test_a_workbook_of_a_million_rows_is_refused_by_the_limit_on_cells_and_a_short_one_is_read() -> None:
    parser = GuardedParser(ParseSettings())
    try:
        short = parser.parse(FILE, workbook(ROWS_AT_A_TIME))
        with pytest.raises(DocumentError, match="more than 2,000,000 filled cells") as caught:
            parser.parse(FILE, workbook(ROWS))
    finally:
        parser.close()
    assert [block.kind for block in short.blocks] == ["heading", "table", "table"]
    assert "| 999 | 5 | 9 |" in short.blocks[-1].text
    assert caught.value.reason == "too_large"
