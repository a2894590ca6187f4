"""Scanned PDFs, read by the real tesseract where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import BytesIO

import pypdfium2 as pdfium
import pytest
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from ingest.parse import builtin, ocr
from ingest.records import Block
from ingest.settings import ParseSettings
from serve_app.core.errors import DocumentError

A4 = (595, 842)
needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is missing")
Drawing = Callable[[Canvas], object]

pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))


def drawn(*pages: Drawing) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def words(*lines: str) -> Drawing:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 20)
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 60 * number, line)

    return draw


def scan(*lines: str) -> Drawing:
    """A page that holds a picture of those lines and nothing else."""
    with pdfium.PdfDocument(drawn(words(*lines))) as document:
        picture = document[0].render(scale=150 / 72).to_pil()
    return lambda canvas: canvas.drawImage(ImageReader(picture), 0, 0, *A4)


def read(content: bytes, languages: str = "eng") -> list[Block]:
    return list(builtin.read(content, "pdf", ParseSettings(ocr=True, ocr_languages=languages)).blocks)


def reason(content: bytes, settings: ParseSettings) -> str:
    with pytest.raises(DocumentError) as caught:
        builtin.read(content, "pdf", settings)
    return caught.value.reason


def test_a_scan_is_reported_while_ocr_is_off() -> None:
    assert reason(drawn(scan("Pump")), ParseSettings()) == "needs_ocr"


@needs_tesseract
def test_a_scanned_page_is_read_between_pages_of_text() -> None:
    content = drawn(words("Printed before."), scan("The pump is serviced every year."), words("Printed after."))
    assert read(content) == [
        Block("text", "Printed before.", page=1),
        Block("text", "The pump is serviced every year.", page=2),
        Block("text", "Printed after.", page=3),
    ]


@needs_tesseract
def test_pages_without_anything_on_them_are_not_read() -> None:
    content = drawn(words("Printed."), Canvas.saveState)
    assert [block.text for block in read(content)] == ["Printed."]


@needs_tesseract
def test_a_language_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(DocumentError, match="apt-get install tesseract-ocr-xyz-abc") as caught:
        read(drawn(scan("Pump")), "eng+xyz_abc")
    assert caught.value.reason == "needs_ocr"


def test_without_the_program_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "_BINARY", "no-such-tesseract")
    with pytest.raises(DocumentError, match="apt-get install tesseract-ocr") as caught:
        read(drawn(scan("Pump")))
    assert caught.value.reason == "needs_ocr"


@needs_tesseract
def test_a_page_that_takes_too_long_is_a_timeout() -> None:
    settings = ParseSettings(ocr=True, ocr_languages="eng", timeout_s=0.01)
    assert reason(drawn(scan("Pump")), settings) == "timeout"


def test_spaces_between_chinese_characters_are_closed_up() -> None:
    assert ocr._closed_up("水 泵 坏 了， 请 call me 8 点") == "水泵坏了，请 call me 8 点"
