"""The lines of a PDF page: PDFium's characters, put together by where they stand."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from ctypes import byref, c_double, c_int, c_uint, create_string_buffer
from dataclasses import dataclass, field

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingest.parse.page import Line, Word

_HYPHENS = {0x02, 0xFFFE}  # how PDFium reports a hyphen that only the line's end made necessary
_BOLD = re.compile(rb"bold|black|heavy|simhei|heiti", re.IGNORECASE)
_COMPATIBILITY = re.compile("[\ufb00-\ufb06\u2e80-\u2fdf]+")  # ligatures, and radicals that stand for characters
_SPACED_OUT = re.compile(r"(?<!\S)[\u4e00-\u9fff](?: [\u4e00-\u9fff](?!\S))+")
_FONT_NAME_BYTES = 128
_SKEW = 10  # degrees; scanned pages are never quite straight
_FAINT = 140  # of 255, the least lightness; grey text for reading is darker
_WHITE = 250
_SEE_THROUGH = 153  # of 255, the most opacity of a watermark
_STEP = 0.6  # of the font's size; superscripts rise less, the next row of a table stands farther
Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True, slots=True)
class Sheet:
    """Turns PDF coordinates (from the lower left corner) into those of a reader (from the upper left corner)."""

    box: Box
    angle: int  # degrees that the text is turned against the clock

    @property
    def height(self) -> float:
        left, bottom, right, top = self.box
        return right - left if self.angle in (90, 270) else top - bottom

    def place(self, x: float, y: float) -> tuple[float, float]:
        """From the left edge, and down from the top edge."""
        left, bottom, right, top = self.box
        if self.angle == 90:
            return y - bottom, x - left
        if self.angle == 180:
            return right - x, y - bottom
        if self.angle == 270:
            return top - y, right - x
        return x - left, top - y


@dataclass(slots=True)
class _Run:
    """Characters that follow each other in one direction, by word: where each is on the text page, and what it is."""

    angle: int
    size: float
    level: float  # of the last character's baseline, across the direction of the text
    words: list[list[tuple[int, str]]] = field(default_factory=lambda: [[]])
    is_hyphenated: bool = False

    @classmethod
    def begin(cls, text_page: pdfium.PdfTextPage, index: int, x: float, y: float) -> _Run:
        angle = _angle(text_page, index)
        return cls(angle, _size(text_page, index), _level(angle, x, y))

    def takes(self, x: float, y: float) -> bool:
        """Whether a character stands on the same line; PDFium breaks lines too, but not between all rows of tables."""
        before, self.level = self.level, _level(self.angle, x, y)
        return abs(self.level - before) <= _STEP * self.size


def _level(angle: int, x: float, y: float) -> float:
    return y * math.cos(math.radians(angle)) - x * math.sin(math.radians(angle))


def page_lines(text_page: pdfium.PdfTextPage, box: Box, page: int) -> tuple[Sheet, list[Line]]:
    """How the page is held, and its lines in the order of the file.

    Most of the text tells which way up the page is; what runs across it is a watermark or a note in the margin.
    """
    runs = list(_runs(text_page))
    weights = Counter[int]()
    for run in runs:
        weights[run.angle] += len(run.words)
    # No page is held askew: many small watermarks may well have more words than the page itself.
    sheet = Sheet(box, max(weights, key=lambda angle: (angle % 90 == 0, weights[angle], -angle), default=0))
    lines = [_line(text_page, run, sheet, page) for run in runs if run.angle == sheet.angle]
    return sheet, [line for line in lines if line.text]


def _runs(text_page: pdfium.PdfTextPage) -> Iterator[_Run]:
    run: _Run | None = None
    x, y = c_double(), c_double()
    for index in range(text_page.count_chars()):
        code = raw.FPDFText_GetUnicode(text_page, index)
        if code in (0x0A, 0x0D) or code in _HYPHENS:
            if run is not None:
                run.is_hyphenated = code in _HYPHENS
                yield run
            run = None
        elif code <= 0x20 or chr(code).isspace():
            if run is not None and run.words[-1]:
                run.words.append([])
        else:
            raw.FPDFText_GetCharOrigin(text_page, index, x, y)
            if run is None or not run.takes(x.value, y.value):
                if run is not None:
                    yield run
                run = _Run.begin(text_page, index, x.value, y.value)
            run.words[-1].append((index, chr(code)))
    if run is not None:
        yield run


def _angle(text_page: pdfium.PdfTextPage, index: int) -> int:
    """Degrees against the clock (PDFium counts them with it), straightened."""
    angle = -round(math.degrees(raw.FPDFText_GetCharAngle(text_page, index))) % 360
    straight = round(angle / 90) * 90
    return straight % 360 if abs(angle - straight) <= _SKEW else angle


def _line(text_page: pdfium.PdfTextPage, run: _Run, sheet: Sheet, page: int) -> Line:
    words = tuple(_word(text_page, word, sheet) for word in run.words if word)
    indices = [index for word in run.words for index, _ in word]
    samples = [indices[(len(indices) - 1) * quarter // 4] for quarter in range(5)]
    x, y = c_double(), c_double()
    raw.FPDFText_GetCharOrigin(text_page, indices[0], byref(x), byref(y))
    return Line(
        text=_SPACED_OUT.sub(lambda match: match[0].replace(" ", ""), " ".join(word.text for word in words)),
        words=words,
        page=page,
        top=sheet.place(x.value, y.value)[1],
        size=round(sorted(_size(text_page, index) for index in samples)[2] * 2) / 2,
        is_bold=all(_is_bold(text_page, index) for index in samples),
        is_hyphenated=run.is_hyphenated,
        is_faint=all(_is_faint(text_page, index) for index in samples),
    )


def _word(text_page: pdfium.PdfTextPage, characters: list[tuple[int, str]], sheet: Sheet) -> Word:
    whole = "".join(character for _, character in characters)
    text = whole.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    text = _COMPATIBILITY.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    corners = [corner for index, _ in (characters[0], characters[-1]) for corner in _corners(text_page, index, sheet)]
    heights = [y for _, y in corners]
    return Word(text, min(x for x, _ in corners), max(x for x, _ in corners), (min(heights) + max(heights)) / 2)


def _corners(text_page: pdfium.PdfTextPage, index: int, sheet: Sheet) -> tuple[tuple[float, float], ...]:
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text_page, index, byref(box))
    return sheet.place(box.left, box.bottom), sheet.place(box.right, box.top)


def _size(text_page: pdfium.PdfTextPage, index: int) -> float:
    """The size a reader sees, in points: many programs write size 1 and scale it."""
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(text_page, index, byref(matrix))
    return float(raw.FPDFText_GetFontSize(text_page, index)) * math.hypot(matrix.c, matrix.d)


def _is_bold(text_page: pdfium.PdfTextPage, index: int) -> bool:
    name, flags = create_string_buffer(_FONT_NAME_BYTES), c_int()
    raw.FPDFText_GetFontInfo(text_page, index, name, _FONT_NAME_BYTES, byref(flags))
    return _BOLD.search(name.value) is not None


def _is_faint(text_page: pdfium.PdfTextPage, index: int) -> bool:
    red, green, blue, opacity = c_uint(), c_uint(), c_uint(), c_uint()
    if not raw.FPDFText_GetFillColor(text_page, index, byref(red), byref(green), byref(blue), byref(opacity)):
        return False
    lightness = 0.299 * red.value + 0.587 * green.value + 0.114 * blue.value
    return _FAINT <= lightness < _WHITE or opacity.value <= _SEE_THROUGH
