"""Every adapter that is installed reads the same small document from every format that it knows in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage
from importlib.util import find_spec
from io import BytesIO
from itertools import product
from typing import Any, get_args

import pytest
from docx import Document as new_document
from openpyxl import Workbook
from pptx import Presentation
from pptx.util import Cm

from ingest.parse.guard import GuardedParser
from ingest.records import Document
from ingest.settings import ParserName, ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

NAMES: tuple[ParserName, ...] = get_args(ParserName)
WITH_MAIL_AND_TEXT = [name for name in NAMES if name != "docling"]  # it reads neither mail, text nor TSV
CELLS = [["Part", "Price"], ["Hose", "5"], ["阀门", "6"]]
TABLE = "| Part | Price |\n| --- | --- |\n| Hose | 5 |\n| 阀门 | 6 |"
INTRO = "This manual describes the pump and how it is serviced every year."
STEPS = "先关闭电源，再打开阀门。然后等待五分钟。"
WARRANTY = "The warranty lasts two years from the day of delivery."
EXPECTED = [
    ("heading", "Pump manual"),
    ("text", INTRO),
    ("heading", "安装步骤"),
    ("text", STEPS),
    ("table", TABLE),
    ("heading", "Warranty"),
    ("text", WARRANTY),
]


def saved(file: Any) -> bytes:
    buffer = BytesIO()
    file.save(buffer)
    return buffer.getvalue()


def fill(table: Any) -> None:
    for (row, cells), column in product(enumerate(CELLS), range(2)):
        table.cell(row, column).text = cells[column]


def docx() -> bytes:
    document = new_document()
    document.add_heading("Pump manual", 1)
    document.add_paragraph(INTRO)
    document.add_heading("安装步骤", 2)
    document.add_paragraph(STEPS)
    fill(document.add_table(3, 2))
    document.add_heading("Warranty", 2)
    document.add_paragraph(WARRANTY)
    return saved(document)


def pptx() -> bytes:
    deck = Presentation()
    for title, text in (("Pump manual", INTRO), ("安装步骤", STEPS), ("Warranty", WARRANTY)):
        shapes = deck.slides.add_slide(deck.slide_layouts[5]).shapes
        shapes.title.text = title
        shapes.add_textbox(Cm(2), Cm(5), Cm(20), Cm(2)).text_frame.text = text
    fill(deck.slides[1].shapes.add_table(3, 2, Cm(2), Cm(9), Cm(10), Cm(3)).table)
    return saved(deck)


def html() -> bytes:
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in CELLS)
    return (
        f"<html><head><title>x</title><style>p {{}}</style></head><body><h1>Pump manual</h1><script>evil()</script>"
        f"<p>{INTRO}</p><p style='display:none'>hidden</p><h2>安装步骤</h2><p>{STEPS}</p>"
        f"<table>{rows}</table><h2>Warranty</h2><p>{WARRANTY}</p></body></html>"
    ).encode("gb18030")


def md() -> bytes:
    return (
        f"---\nauthor: Li Na\n---\n# Pump manual\n\n{INTRO}\n\n## 安装步骤\n\n{STEPS}\n\n{TABLE}\n\n"
        f"## Warranty\n\n{WARRANTY}\n"
    ).encode()


def xlsx() -> bytes:
    book = Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in CELLS:
        sheet.append(row)
    return saved(book)


def csv() -> bytes:
    return "".join(f"{','.join(row)}\n" for row in CELLS).encode("gb18030")


def tsv() -> bytes:
    return csv().replace(b",", b"\t")


def txt() -> bytes:
    """Only wording says what is a heading."""
    return (f"Pump manual\n\n{INTRO}\n\n第一章 安装步骤\n\n{STEPS}\n\n第二章 Warranty\n\n{WARRANTY}\n").encode(
        "gb18030"
    )


def eml() -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "li.na@example.com", "plant@example.com", "Pump manual"
    mail.set_content(f"{INTRO}\n\n{STEPS}\n")
    return mail.as_bytes()


@pytest.fixture(scope="module", params=NAMES)
def parser(request: pytest.FixtureRequest) -> Iterator[GuardedParser]:
    pytest.importorskip({"builtin": "ingest"}.get(request.param, request.param))
    guarded = GuardedParser(ParseSettings(parser=request.param))
    try:
        yield guarded
    finally:
        guarded.close()


def parsed(parser: GuardedParser, format_: str, content: bytes) -> Document:
    name = f"manual.{format_}"
    return parser.parse(SourceFile(f"file:///{name}", f"/{name}", name, format_), content)


def contents(document: Document) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in document.blocks]


@pytest.mark.parametrize("make", [docx, pptx, html, md])
def test_headings_texts_and_tables_come_in_reading_order(parser: GuardedParser, make: Callable[[], bytes]) -> None:
    document = parsed(parser, make.__name__, make())
    assert contents(document) == EXPECTED
    assert (document.title, document.format) == ("Pump manual", make.__name__)


@pytest.mark.parametrize("make", [docx, html, md])
def test_headings_keep_their_levels(parser: GuardedParser, make: Callable[[], bytes]) -> None:
    document = parsed(parser, make.__name__, make())
    assert [block.level for block in document.blocks if block.kind == "heading"] == [1, 2, 2]


def test_slides_are_pages(parser: GuardedParser) -> None:
    assert [block.page for block in parsed(parser, "pptx", pptx()).blocks] == [1, 1, 2, 2, 2, 3, 3]


def test_a_sheet_is_a_heading_and_a_table(parser: GuardedParser) -> None:
    document = parsed(parser, "xlsx", xlsx())
    assert contents(document) == [("heading", "Prices"), ("table", TABLE)]
    assert document.title == "manual"


def test_a_csv_is_a_table(parser: GuardedParser) -> None:
    assert contents(parsed(parser, "csv", csv())) == [("table", TABLE)]


@pytest.mark.parametrize("parser", WITH_MAIL_AND_TEXT, indirect=True)
def test_a_tsv_is_a_table(parser: GuardedParser) -> None:
    assert contents(parsed(parser, "tsv", tsv())) == [("table", TABLE)]


@pytest.mark.parametrize("parser", WITH_MAIL_AND_TEXT, indirect=True)
def test_a_text_file_has_the_headings_that_its_wording_gives_away(parser: GuardedParser) -> None:
    document = parsed(parser, "txt", txt())
    assert contents(document) == [
        ("heading", "Pump manual"),
        ("text", INTRO),
        ("heading", "第一章 安装步骤"),
        ("text", STEPS),
        ("heading", "第二章 Warranty"),
        ("text", WARRANTY),
    ]
    assert document.title == "Pump manual"


@pytest.mark.parametrize("parser", WITH_MAIL_AND_TEXT, indirect=True)
def test_a_mail_is_its_subject_and_its_body(parser: GuardedParser) -> None:
    document = parsed(parser, "eml", eml())
    found = [block for block in contents(document) if not block[1].startswith("From: ")]  # only the builtin's
    assert found == [("heading", "Pump manual"), ("text", INTRO), ("text", STEPS)]
    assert document.title == "Pump manual"


@pytest.mark.parametrize("format_", ["docx", "pptx", "xlsx"])
def test_damaged_files_are_corrupt(parser: GuardedParser, format_: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parsed(parser, format_, b"PK\x03\x04 cut off")
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "builtin" and find_spec(name)])
def test_a_format_that_an_adapter_does_not_read_is_unsupported(name: ParserName) -> None:
    guarded = GuardedParser(ParseSettings(parser=name))
    try:
        with pytest.raises(DocumentError, match="builtin") as caught:
            parsed(guarded, "pdf", b"%PDF-1.7")
    finally:
        guarded.close()
    assert caught.value.reason == "unsupported"
