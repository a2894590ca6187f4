"""Word documents: headings from styles and outline levels, tables in place, headers and footers left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from docx import Document as open_document
from docx.document import Document as WordDocument
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from docx.oxml.xmlchemy import BaseOxmlElement
from docx.styles.style import BaseStyle, ParagraphStyle

from ingest.parse.archives import DAMAGE, corrupt, opened
from ingest.parse.headings import chinese_level, numbered_level, reads_like_heading
from ingest.parse.numbering import BULLET, Numbering, value_at
from ingest.parse.parsed import Parsed, join_chinese_lines, with_first_heading
from ingest.parse.tables import MAX_SPAN, table_blocks
from ingest.records import Block

_TITLE = 0  # the level of the style "Title", until headings move below it
_MAX_HEADING = 200  # characters; longer text in a heading style is a paragraph in disguise
_HEADING_STYLE = re.compile(r"(?:heading|标题)\s*([1-9])$", re.IGNORECASE)
_HOLDERS = {qn(name) for name in ("w:sdt", "w:sdtContent", "w:ins", "w:moveTo", "w:customXml", "w:smartTag")}
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # a second copy of a drawing
_UNSEEN = {qn(name) for name in ("w:pPr", "w:rPr", "w:del", "w:moveFrom", "w:txbxContent")} | {_FALLBACK}
_CHARACTERS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}


@dataclass(frozen=True, slots=True)
class _Paragraph:
    text: str
    level: int | None = None  # None: not a heading
    is_centered: bool = False
    is_item: bool = False  # of a bullet list


_Part = _Paragraph | list[list[str]]  # a table is its rows


def read(content: bytes) -> Parsed:
    archive = opened(content)
    try:
        parts = list(_parts(open_document(archive)))
    except (OpcError, *DAMAGE) as error:
        raise corrupt() from error
    return with_first_heading(list(_blocks(_with_guessed_headings(parts))))


def _blocks(parts: Sequence[_Part]) -> Iterator[Block]:
    below_title = any(isinstance(part, _Paragraph) and part.level == _TITLE for part in parts)
    for part in _with_joined_items(parts):
        if isinstance(part, list):
            yield from table_blocks(part)
        elif part.level is None:
            yield Block("text", part.text)
        else:
            yield Block("heading", " ".join(part.text.split()), level=part.level + below_title)


def _with_joined_items(parts: Sequence[_Part]) -> Iterator[_Part]:
    """The items of a bullet list follow each other as lines of one paragraph."""
    for is_item, group in groupby(parts, key=lambda part: isinstance(part, _Paragraph) and part.is_item):
        if is_item:
            yield _Paragraph("\n".join(part.text for part in group if isinstance(part, _Paragraph)))
        else:
            yield from group


def _with_guessed_headings(parts: list[_Part]) -> list[_Part]:
    """Documents written without any heading style get the headings that their wording gives away."""
    if any(isinstance(part, _Paragraph) and part.level is not None for part in parts):
        return parts
    levels = [_worded_level(part, is_first=index == 0) for index, part in enumerate(parts)]
    return [  # two of a kind in a row are the items of a list
        replace(part, level=level) if isinstance(part, _Paragraph) and level not in (before, after) else part
        for part, before, level, after in zip(parts, [None, *levels], levels, [*levels[1:], None], strict=False)
    ]


def _worded_level(part: _Part, is_first: bool) -> int | None:
    if isinstance(part, list):
        return None
    if is_first and part.is_centered and reads_like_heading(part.text):
        return 1
    return chinese_level(part.text) or numbered_level(part.text)


def _parts(word: WordDocument) -> Iterator[_Part]:
    """Paragraphs with text, and tables, in document order."""
    styles = {style.style_id: style for style in word.styles if isinstance(style, ParagraphStyle)}
    numbering = Numbering.of(word)
    for element in _elements(word.element.body):
        if element.tag == qn("w:tbl"):
            yield _rows(element)
            continue
        style = styles.get(value_at(element, "w:pPr/w:pStyle"))
        text = _text(element)
        if not text or (style and (style.name or "").lower().startswith("toc ")):
            continue
        label = numbering.label([element, *(base.element for base in _chain(style))])
        level = _level(element, style) if len(text) <= _MAX_HEADING else None
        is_centered = value_at(element, "w:pPr/w:jc") == "center"
        yield _Paragraph(label + text, level, is_centered, is_item=label == BULLET and level is None)


def _elements(holder: BaseOxmlElement) -> Iterator[BaseOxmlElement]:
    """Paragraphs and tables, also those inside content controls, tracked insertions and text boxes."""
    for child in holder.iterchildren():
        if child.tag == qn("w:tbl"):
            yield child
        elif child.tag == qn("w:p"):
            yield child
            for box in child.iter(qn("w:txbxContent")):
                if next(box.iterancestors(_FALLBACK), None) is None:
                    yield from _elements(box)
        elif child.tag in _HOLDERS:
            yield from _elements(child)


def _level(paragraph: BaseOxmlElement, style: ParagraphStyle | None) -> int | None:
    """From the paragraph's own outline level, else the first of its styles that says something."""
    for source in (paragraph, *(base.element for base in _chain(style))):
        outline = value_at(source, "w:pPr/w:outlineLvl")
        if outline.isdecimal():
            return int(outline) + 1 if int(outline) < 9 else None  # 9 is body text
    for base in _chain(style):
        name = (base.name or "").strip()
        match = _HEADING_STYLE.match(name)
        if match:
            return int(match[1])
        if name.lower() in ("title", "标题"):
            return _TITLE
    return None


def _chain(style: BaseStyle | None) -> Iterator[BaseStyle]:
    """A style and those it is based on; cut off at a depth that only a loop reaches."""
    for _ in range(16):
        if style is None:
            return
        yield style
        style = getattr(style, "base_style", None)


def _text(paragraph: BaseOxmlElement) -> str:
    return join_chinese_lines("".join(_characters(paragraph))).strip()


def _characters(element: BaseOxmlElement) -> Iterator[str]:
    """The visible text of a paragraph, without tracked deletions."""
    for child in element.iterchildren():
        if child.tag == qn("w:t"):
            yield child.text or ""
        elif child.tag in _CHARACTERS:
            yield _CHARACTERS[child.tag]
        elif child.tag not in _UNSEEN:
            yield from _characters(child)


def _rows(table: BaseOxmlElement) -> list[list[str]]:
    """Cell texts; a merged cell is repeated, so that every row can be read alone."""
    rows: list[list[str]] = []
    for row in table.xpath("./w:tr | ./w:sdt/w:sdtContent/w:tr"):
        cells: list[str] = []
        for cell in row.xpath("./w:tc | ./w:sdt/w:sdtContent/w:tc"):
            merge = cell.find(f"{qn('w:tcPr')}/{qn('w:vMerge')}")
            above = rows[-1][len(cells)] if rows and len(cells) < len(rows[-1]) else ""
            is_continued = merge is not None and merge.get(qn("w:val"), "continue") == "continue"
            text = above if is_continued else "\n".join(filter(None, map(_text, cell.iter(qn("w:p")))))
            span = value_at(cell, "w:tcPr/w:gridSpan")
            cells.extend([text] * (min(int(span), MAX_SPAN) if span.isdecimal() else 1))
        rows.append(cells)
    return rows
