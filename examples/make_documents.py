"""Write the PDF, Word and Excel files of the example knowledge base from their Markdown sources.

Run `python examples/make_documents.py`. Each source in the folder of the same name, for example `contract.pdf.md`,
becomes the file its name promises, `contract.pdf`; a second run writes the same bytes. A source starts with its
title, subtitle, page header, page footer and language between `---` lines. Of Markdown it may use headings,
paragraphs, `- ` lists and tables; a workbook's headings name its sheets.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

import docx
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Pt
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer

SOURCES = Path(__file__).with_suffix("")
KNOWLEDGE_BASE = Path(__file__).with_name("knowledge_base")
COMPANY = "Maasling Pumps"
TIMESTAMP = "2025-01-01T00:00:00Z"  # in place of the clock, so that equal sources give equal bytes
ZIP_DATE = (2025, 1, 1, 0, 0, 0)
PAGE_MARGIN = 22 * mm


@dataclass(frozen=True, slots=True)
class Element:
    """One heading, paragraph, list or table; `rows` holds a table's cells or one cell per list item."""

    kind: Literal["heading", "text", "list", "table"]
    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    title: str
    subtitle: str
    header: str
    footer: str
    language: str  # en | zh
    elements: tuple[Element, ...]


def read_source(path: Path) -> Source:
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    field = dict(line.split(": ", 1) for line in front.splitlines())
    elements = tuple(read_element(part) for part in re.split(r"\n{2,}", body.strip()))
    return Source(field["title"], field["subtitle"], field["header"], field["footer"], field["language"], elements)


def read_element(part: str) -> Element:
    if heading := re.fullmatch(r"(#+) (.+)", part):
        return Element("heading", heading[2], len(heading[1]))
    lines = part.splitlines()
    if part.startswith("|"):
        rows = (tuple(cell.strip() for cell in line.strip("|").split("|")) for line in (lines[0], *lines[2:]))
        return Element("table", rows=tuple(rows))
    if part.startswith("- "):
        return Element("list", rows=tuple((line.removeprefix("- "),) for line in lines))
    return Element("text", part)


def pdf_bytes(source: Source) -> bytes:
    regular, bold = ("Helvetica", "Helvetica-Bold") if source.language == "en" else ("STSong-Light", "STSong-Light")
    if source.language == "zh":
        registerFont(UnicodeCIDFont(regular))

    def draw_page_frame(canvas: Canvas, template: SimpleDocTemplate) -> None:
        canvas.setFont(regular, 8)
        canvas.drawString(PAGE_MARGIN, A4[1] - 13 * mm, source.header)
        canvas.drawString(PAGE_MARGIN, 11 * mm, source.footer)
        page = f"Page {template.page}" if source.language == "en" else f"第 {template.page} 页"
        canvas.drawRightString(A4[0] - PAGE_MARGIN, 11 * mm, page)

    output = io.BytesIO()
    template = SimpleDocTemplate(
        output,
        pagesize=A4,
        leftMargin=PAGE_MARGIN,
        rightMargin=PAGE_MARGIN,
        topMargin=PAGE_MARGIN,
        bottomMargin=PAGE_MARGIN,
        title=source.title,
        author=COMPANY,
        lang=source.language,
        invariant=1,
    )
    flowables = list(pdf_flowables(source, regular, bold))
    template.build(flowables, onFirstPage=draw_page_frame, onLaterPages=draw_page_frame)
    return output.getvalue()


def pdf_flowables(source: Source, regular: str, bold: str) -> Iterator[Flowable]:
    wrap = "CJK" if source.language == "zh" else None

    def style(font: str, size: float, before: float, *, keep: bool = False, indent: float = 0) -> ParagraphStyle:
        name = f"{font}-{size}"
        return ParagraphStyle(
            name, fontName=font, fontSize=size, leading=size * 1.4, spaceBefore=before, spaceAfter=4,
            keepWithNext=keep, leftIndent=indent, wordWrap=wrap,
        )  # fmt: skip

    headings = [style(bold, size, before, keep=True) for size, before in ((15, 14), (12.5, 9), (11, 6))]
    body, item = style(regular, 10, 2), style(regular, 10, 0, indent=5 * mm)
    head_cell, cell = style(bold, 8.5, 0), style(regular, 8.5, 0)

    yield Paragraph(escape(source.title), style(bold, 21, 0))
    yield Paragraph(escape(source.subtitle), style(regular, 11, 0))
    yield Spacer(1, 6 * mm)
    for element in source.elements:
        match element.kind:
            case "heading":
                yield Paragraph(escape(element.text), headings[element.level - 1])
            case "text":
                yield Paragraph(escape(element.text), body)
            case "list":
                yield from (Paragraph(escape(text), item, bulletText="•") for (text,) in element.rows)
            case "table":
                yield pdf_table(element.rows, head_cell, cell)
                yield Spacer(1, 4 * mm)


def pdf_table(rows: tuple[tuple[str, ...], ...], head: ParagraphStyle, body: ParagraphStyle) -> LongTable:
    """A ruled table as wide as the text, its header row repeated on every page it reaches."""
    weights = [3 + column_length(column) for column in zip(*rows, strict=True)]
    widths = [(A4[0] - 2 * PAGE_MARGIN) * weight / sum(weights) for weight in weights]
    cells = [[Paragraph(escape(text), head if n == 0 else body) for text in row] for n, row in enumerate(rows)]
    rules = [("GRID", (0, 0), (-1, -1), 0.4, colors.grey), ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke)]
    layout = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 4)]
    return LongTable(cells, colWidths=widths, repeatRows=1, style=[*rules, *layout])


def column_length(column: tuple[str, ...]) -> int:
    """Characters that a column should hold in one line; a long header wraps between its words."""
    header, *values = column
    return min(max(*map(len, header.split()), *map(len, values), 5), 24)


def word_bytes(source: Source) -> bytes:
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = source.title, COMPANY
    document.core_properties.language, document.core_properties.comments = source.language, ""
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Calibri", Pt(10.5)
    normal.element.rPr.rFonts.set(qn("w:eastAsia"), "SimSun")
    write_word_frame(document.sections[0], source)

    document.add_heading(source.title, level=0)
    document.add_paragraph(source.subtitle, style="Subtitle")
    for element in source.elements:
        match element.kind:
            case "heading":
                document.add_heading(element.text, level=element.level)
            case "text":
                document.add_paragraph(element.text)
            case "list":
                for (text,) in element.rows:
                    document.add_paragraph(text, style="List Bullet")
            case "table":
                write_word_table(document, element.rows)
    return saved(document.save)


def write_word_frame(section: docx.section.Section, source: Source) -> None:
    section.header.paragraphs[0].text = source.header
    footer = section.footer.paragraphs[0]
    footer.text = f"{source.footer}  ·  "
    footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
    page_number = OxmlElement("w:fldSimple")
    page_number.set(qn("w:instr"), "PAGE")
    footer._p.append(page_number)


def write_word_table(document: docx.document.Document, rows: tuple[tuple[str, ...], ...]) -> None:
    table = document.add_table(rows=len(rows), cols=len(rows[0]), style="Table Grid")
    for row, texts in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    for cell in table.rows[0].cells:
        for run in cell.paragraphs[0].runs:
            run.bold = True
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    document.add_paragraph()


def excel_bytes(source: Source) -> bytes:
    workbook = Workbook()
    workbook.remove(workbook.active)
    workbook.properties.title, workbook.properties.creator = source.title, COMPANY
    sheet_names = [element.text for element in source.elements if element.kind == "heading"]
    tables = [element.rows for element in source.elements if element.kind == "table"]
    for name, rows in zip(sheet_names, tables, strict=True):
        sheet = workbook.create_sheet(name)
        sheet.oddHeader.center.text, sheet.oddFooter.center.text = source.header, source.footer
        sheet.print_title_rows, sheet.freeze_panes = "1:1", "A2"
        for row in rows:
            sheet.append([number_or_text(text) for text in row])
        for cell in sheet[1]:
            cell.font, cell.alignment = Font(bold=True), Alignment(wrap_text=True)
        for n, column in enumerate(zip(*rows, strict=True), start=1):
            sheet.column_dimensions[get_column_letter(n)].width = max(map(len, column)) + 2
            for cell in sheet[get_column_letter(n)]:
                cell.number_format = "#,##0.00" if isinstance(cell.value, float) else "General"
    return saved(workbook.save)


def number_or_text(text: str) -> float | int | str | None:
    if re.fullmatch(r"\d+\.\d\d", text):
        return float(text)
    return int(text) if text.isdecimal() else text or None


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    """The archive that `save` writes, with the clock's traces replaced: entry dates and document properties."""
    written, frozen = io.BytesIO(), io.BytesIO()
    save(written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(frozen, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"(?<=W3CDTF\">)[^<]+", TIMESTAMP.encode(), content)
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, content)
    return frozen.getvalue()


def main() -> None:
    writers = {".pdf": pdf_bytes, ".docx": word_bytes, ".xlsx": excel_bytes}
    for path in sorted(SOURCES.glob("*.md")):
        target = KNOWLEDGE_BASE / path.stem
        target.write_bytes(writers[target.suffix](read_source(path)))
        print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
