"""Scanned PDFs, read by the real tesseract where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from io import BytesIO

import pypdfium2 as pdfium
import pytest
from PIL.Image import Image
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
LATIN, CHINESE = "Helvetica", "STSong-Light"

pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))


def drawn(*pages: Drawing) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def words(*lines: str, font: str = LATIN) -> Drawing:
    def draw(canvas: Canvas) -> None:
        canvas.setFont(font, 20)
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 60 * number, line)

    return draw


def picture(*lines: str, font: str = LATIN) -> Image:
    with pdfium.PdfDocument(drawn(words(*lines, font=font))) as document:
        image: Image = document[0].render(scale=150 / 72).to_pil()
    return image


def scan(*lines: str, font: str = LATIN) -> Drawing:
    """A page that holds a picture of those lines and nothing else."""
    image = picture(*lines, font=font)
    return lambda canvas: canvas.drawImage(ImageReader(image), 0, 0, *A4)


@pytest.fixture
def _reads_chinese() -> None:
    """Skips where tesseract lacks the language, or the machine has no font to draw it with: all is one box then."""
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True)
    if "chi_sim" not in listed.stdout.split():
        pytest.skip("tesseract lacks the language chi_sim")
    if picture("水", font=CHINESE).tobytes() == picture("泵", font=CHINESE).tobytes():
        pytest.skip("no Chinese font is installed")


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
@pytest.mark.usefixtures("_reads_chinese")
def test_a_scanned_chinese_page_is_read_with_the_languages_of_the_default() -> None:
    content = drawn(scan("合同于二零二四年三月一日生效。", "双方应当按照本合同履行义务。", font=CHINESE))
    found = "".join(block.text for block in read(content, ParseSettings().ocr_languages))
    assert "合同于二零二四年三月一日生效" in found
    assert "双方应当按照本合同履行义务" in found


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
