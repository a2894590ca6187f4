"""The straight strokes drawn on a PDF page, as far as they run along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import byref, c_float, c_int

import pypdfium2 as pdfium
from pypdfium2 import raw

from ingest.parse.page import Stroke

_MAX_STROKES = 5_000  # a page; beyond, it is a drawing and not tables
_STRAIGHT = 1.0  # points that a stroke may stray from its axis
_SHORTEST = 4.0  # points
_Point = tuple[float, float]


def strokes(page: pdfium.PdfPage, place: Callable[[float, float], _Point]) -> tuple[tuple[Stroke, ...], ...]:
    """Horizontal and vertical strokes, in the coordinates that `place` gives; none of a page that is a drawing."""
    rows: list[Stroke] = []
    columns: list[Stroke] = []
    for start, end in _segments(page):
        (x0, y0), (x1, y1) = place(*start), place(*end)
        if abs(y1 - y0) <= _STRAIGHT and abs(x1 - x0) >= _SHORTEST:
            rows.append(Stroke((y0 + y1) / 2, min(x0, x1), max(x0, x1)))
        elif abs(x1 - x0) <= _STRAIGHT and abs(y1 - y0) >= _SHORTEST:
            columns.append(Stroke((x0 + x1) / 2, min(y0, y1), max(y0, y1)))
        if len(rows) + len(columns) > _MAX_STROKES:
            return (), ()
    return tuple(rows), tuple(columns)


def _segments(page: pdfium.PdfPage) -> Iterator[tuple[_Point, _Point]]:
    """Straight pieces of the visible paths, in PDF coordinates."""
    for path in page.get_objects(filter=(raw.FPDF_PAGEOBJ_PATH,), max_depth=1):
        if not _is_visible(path):
            continue
        matrix = path.get_matrix()
        start = current = (0.0, 0.0)
        for index in range(raw.FPDFPath_CountSegments(path)):
            segment = raw.FPDFPath_GetPathSegment(path, index)
            x, y = c_float(), c_float()
            raw.FPDFPathSegment_GetPoint(segment, byref(x), byref(y))
            point = matrix.on_point(x.value, y.value)
            kind = raw.FPDFPathSegment_GetType(segment)
            if kind == raw.FPDF_SEGMENT_MOVETO:
                start = point
            elif kind == raw.FPDF_SEGMENT_LINETO:
                yield current, point
            current = point
            if raw.FPDFPathSegment_GetClose(segment):
                yield current, start


def _is_visible(path: pdfium.PdfObject) -> bool:
    fill, stroke = c_int(), c_int()
    raw.FPDFPath_GetDrawMode(path, byref(fill), byref(stroke))
    return bool(fill.value or stroke.value)
