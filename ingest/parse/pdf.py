"""PDF files: pages from PDFium, and why some cannot be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingest.parse.glyphs import page_lines
from ingest.parse.layout import page_blocks
from ingest.parse.page import Page
from ingest.parse.parsed import Parsed, with_first_heading
from ingest.parse.strokes import strokes
from ingest.records import Block
from serve_app.core.errors import DocumentError

if TYPE_CHECKING:
    from ingest.parse.ocr import PageReader

_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")


def read(content: bytes, ocr: PageReader | None = None) -> Parsed:
    """With `ocr`, pages that hold no readable text but a picture are read by it.

    Raises DocumentError: encrypted, corrupt, timeout, or needs_ocr where the pages hold pictures instead of text.
    """
    try:
        pdf = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        raise _refusal(error) from error
    try:
        pages = [_page(pdf, index) for index in range(len(pdf))]
        scans = [] if ocr is None else [page.number for page in pages if not _is_readable([page])]
        scanned = [] if ocr is None else _scanned(pdf, scans, ocr)
    except pdfium.PdfiumError as error:
        raise _refusal(error) from error
    finally:
        pdf.close()
    pages = [page for page in pages if page.number not in scans]
    if not scanned and not _is_readable(pages):
        raise DocumentError("The pages hold no readable text; switch OCR on (parse.ocr).", reason="needs_ocr")
    blocks = page_blocks(pages) if pages else []
    return with_first_heading(sorted([*blocks, *scanned], key=lambda block: block.page or 0))


def _is_readable(pages: Sequence[Page]) -> bool:
    text = "".join(line.text for page in pages for line in page.lines)
    return len(_UNREADABLE.findall(text)) * 3 < len(text)


def _scanned(pdf: pdfium.PdfDocument, numbers: Sequence[int], ocr: PageReader) -> list[Block]:
    """The blocks of those pages that show something."""
    if numbers:
        ocr.check()
    blocks: list[Block] = []
    for number in numbers:
        page = pdf[number - 1]
        try:
            if next(iter(page.get_objects(max_depth=1)), None) is not None:
                blocks += ocr.blocks(page, number)
        finally:
            page.close()
    return blocks


def _refusal(error: pdfium.PdfiumError) -> DocumentError:
    if error.err_code == raw.FPDF_ERR_PASSWORD:
        return DocumentError("The file is protected by a password; save it without.", reason="encrypted")
    return DocumentError("The file is damaged; print it to a new PDF.", reason="corrupt")


def _page(pdf: pdfium.PdfDocument, index: int) -> Page:
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        sheet, lines = page_lines(text_page, page.get_cropbox(), index + 1)
        rows, columns = strokes(page, sheet.place)
    finally:
        text_page.close()
        page.close()
    return Page(index + 1, sheet.height, tuple(lines), rows, columns)
