"""PDF files: pages from PDFium, and why some cannot be read."""

from __future__ import annotations

import re

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingest.parse.glyphs import page_lines
from ingest.parse.layout import page_blocks
from ingest.parse.page import Page
from ingest.parse.parsed import Parsed, with_first_heading
from ingest.parse.strokes import strokes
from serve_app.core.errors import DocumentError

_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")


def read(content: bytes) -> Parsed:
    """Raises DocumentError: encrypted, corrupt, or needs_ocr where the pages hold pictures instead of text."""
    try:
        pdf = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        raise _refusal(error) from error
    try:
        pages = [_page(pdf, index) for index in range(len(pdf))]
    except pdfium.PdfiumError as error:
        raise _refusal(error) from error
    finally:
        pdf.close()
    text = "".join(line.text for page in pages for line in page.lines)
    if len(_UNREADABLE.findall(text)) * 3 >= len(text):
        raise DocumentError("The pages hold no readable text; run OCR over the file first.", reason="needs_ocr")
    return with_first_heading(page_blocks(pages))


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
