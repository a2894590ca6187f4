"""Scanned pages → text, by the `tesseract` program. Pages go to it as pictures through a pipe, never as files."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pypdfium2 as pdfium

from ingest.parse.parsed import is_ideograph
from ingest.parse.text import text_blocks
from ingest.records import Block
from serve_app.core.errors import DocumentError

_BINARY = "tesseract"
_DPI = 300  # what tesseract's models were trained on
_MAX_PIXELS = 40_000_000  # of one page, at a byte each; an A3 page at 300 dpi has half of it
_GAP = re.compile(r"(?<=(\S)) (?=(\S))")


@dataclass(frozen=True, slots=True)
class PageReader:
    """Reads one page after the other. `languages` are tesseract's names, joined by `+`."""

    languages: str
    timeout_s: float  # a page

    def check(self) -> None:
        """Raises DocumentError(reason="needs_ocr") if the program or one of the languages is missing."""
        if shutil.which(_BINARY) is None:
            raise _missing("tesseract is not installed", "tesseract-ocr")
        listing = [_BINARY, "--list-langs"]
        listed = subprocess.run(listing, capture_output=True, text=True, check=False)  # noqa: S603
        known = set(listed.stdout.split("\n")[1:])
        for language in self.languages.split("+"):
            if language not in known:
                raise _missing(f"tesseract lacks the language {language}", _package(language))

    def blocks(self, page: pdfium.PdfPage, number: int) -> list[Block]:
        """The paragraphs of a page, and the few headings that their wording gives away.

        Raises DocumentError: timeout, or needs_ocr if the program gives up.
        """
        return [replace(block, page=number) for block in text_blocks(self._text(page))]

    def _text(self, page: pdfium.PdfPage) -> str:
        command = [_BINARY, "stdin", "stdout", "-l", self.languages, "-c", "preserve_interword_spaces=1"]
        try:
            done = subprocess.run(  # noqa: S603
                command, input=_picture(page), capture_output=True, check=False, timeout=self.timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise DocumentError("OCR of one page took longer than the time for the file.", reason="timeout") from error
        if done.returncode != 0:
            raise DocumentError(f"tesseract ended with exit code {done.returncode}; try it by hand.", "needs_ocr")
        return _closed_up(done.stdout.decode("utf-8", errors="replace").replace("\f", ""))


def _picture(page: pdfium.PdfPage) -> bytes:
    """The page in grey, as PGM: a header and the bytes."""
    width, height = page.get_size()
    scale = min(_DPI / 72, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    grey = np.ascontiguousarray(bitmap.to_numpy())
    return b"P5 %d %d 255\n" % (grey.shape[1], grey.shape[0]) + grey.tobytes()


def _closed_up(text: str) -> str:
    """Without the spaces that tesseract writes between Chinese characters."""
    return _GAP.sub(lambda gap: "" if is_ideograph(gap[1]) and is_ideograph(gap[2]) else " ", text)


def _package(language: str) -> str:
    return f"tesseract-ocr-{language.replace('_', '-').lower()}"


def _missing(what: str, package: str) -> DocumentError:
    return DocumentError(
        f"The pages are pictures, and {what} (Debian and Ubuntu: apt-get install {package}).", reason="needs_ocr"
    )
