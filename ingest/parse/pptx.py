"""PowerPoint: a page for each visible slide, with its title as heading, its texts, tables and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pptx import Presentation
from pptx.enum.shapes import PP_PLACEHOLDER
from pptx.exc import PythonPptxError

from ingest.parse.archives import DAMAGE, corrupt, opened
from ingest.parse.parsed import Parsed, join_chinese_lines, with_first_heading
from ingest.parse.tables import CellLimit, table_blocks
from ingest.records import Block

_FURNITURE = {PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.HEADER, PP_PLACEHOLDER.SLIDE_NUMBER}
_SAME_ROW = 360_000  # EMU, a centimetre: shapes that differ less in height stand beside each other


def read(content: bytes) -> Parsed:
    """Raises DocumentError: corrupt, encrypted, zip_bomb or too_large."""
    archive = opened(content)
    try:
        slides = [
            (number, slide)
            for number, slide in enumerate(Presentation(archive).slides, 1)
            if slide.element.get("show") not in ("0", "false")  # a hidden slide keeps its number
        ]
        has_cover = bool(slides) and _is_cover(slides[0][1])
        limit = CellLimit()
        blocks = [
            block
            for place, (number, slide) in enumerate(slides)
            for block in _slide_blocks(slide, number, 2 if has_cover and place else 1, limit)
        ]
    except (PythonPptxError, *DAMAGE) as error:
        raise corrupt() from error
    return with_first_heading(blocks)


def _is_cover(slide: Any) -> bool:
    title = slide.shapes.title
    return title is not None and title.placeholder_format.type == PP_PLACEHOLDER.CENTER_TITLE


def _slide_blocks(slide: Any, page: int, level: int, limit: CellLimit) -> Iterator[Block]:
    title = slide.shapes.title
    heading = " ".join(_text(title).split()) if title is not None else ""
    if heading:
        yield Block("heading", heading, level, page)
    for shape in _shapes(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            yield from _text_block(_text(shape), page)
        elif shape.has_table:
            yield from table_blocks(list(limit.counted(_rows(shape.table))), page)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield from _text_block(_frame_text(slide.notes_slide.notes_text_frame), page)


def _shapes(shapes: Iterable[Any]) -> Iterator[Any]:
    """Those that hold content, from top to bottom and from left to right; the file has them from back to front."""
    for shape in sorted(shapes, key=lambda shape: ((shape.top or 0) // _SAME_ROW, shape.left or 0)):
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        elif not (shape.is_placeholder and shape.placeholder_format.type in _FURNITURE):
            yield shape


def _text_block(text: str, page: int) -> Iterator[Block]:
    if text:
        yield Block("text", text, page=page)


def _text(shape: Any) -> str:
    return _frame_text(shape.text_frame)


def _frame_text(frame: Any) -> str:
    """A line for each paragraph; deeper ones are items of a list."""
    lines = (
        (paragraph.level, join_chinese_lines(paragraph.text.replace("\v", "\n"))) for paragraph in frame.paragraphs
    )
    return "\n".join(
        f"{'  ' * level}- {text.strip()}" if level else text.strip() for level, text in lines if text.strip()
    )


def _rows(table: Any) -> Iterator[list[str]]:
    """Cell texts; a merged cell is repeated, so that every row can be read alone."""
    grid: list[list[str]] = []
    for number, row in enumerate(table.rows):
        grid.append([])
        for column, cell in enumerate(row.cells):
            text = cell.text_frame.text.strip()
            if cell.is_spanned:
                is_below = number > 0 and cell._tc.vMerge
                text = grid[number - 1][column] if is_below else grid[number][column - 1] if column else ""
            grid[number].append(text)
    yield from grid
