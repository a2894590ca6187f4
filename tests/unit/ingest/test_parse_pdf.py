"""PDF files drawn here line by line, so that what stands where is in sight."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from ingest.parse import pdf as pdf_format
from ingest.parse.furniture import is_furniture
from ingest.parse.page import Line, Page, Word
from ingest.records import Block
from serve_app.core.errors import DocumentError

A4 = (595, 842)
LEFT, TOP, PITCH = 72, 740, 14
CHINESE = "STSong-Light"
Drawing = Callable[[Canvas], object]

pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))


def drawn(*pages: Drawing, encrypt: StandardEncryption | None = None) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4, encrypt=encrypt)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def pdf(*pages: Drawing) -> list[Block]:
    return list(pdf_format.read(drawn(*pages)).blocks)


def write(canvas: Canvas, lines: list[str], top: float = TOP, size: float = 11, font: str = "Helvetica") -> None:
    canvas.setFont(font, size)
    for number, line in enumerate(lines):
        canvas.drawString(LEFT, top - number * PITCH, line)


def heading(level: int, text: str, page: int = 1) -> Block:
    return Block("heading", text, level, page)


def text(content: str, page: int = 1) -> Block:
    return Block("text", content, page=page)


PARAGRAPH = [
    "The rotor weighs more than a single person may lift, so that a lifting fixture has to be",
    "used at every assembly station. The fixture is tested twice a year by the safety officer,",
    "who keeps a record of it.",
]
JOINED = " ".join(PARAGRAPH)


def test_the_lines_of_a_paragraph_are_joined() -> None:
    assert pdf(lambda canvas: write(canvas, PARAGRAPH)) == [text(JOINED)]


def test_a_gap_begins_a_new_paragraph() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH)
        write(canvas, PARAGRAPH, TOP - 70)

    assert pdf(page) == [text(JOINED), text(JOINED)]


def test_an_indented_line_begins_a_new_paragraph() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH)
        canvas.drawString(LEFT + 24, TOP - 3 * PITCH, "Another paragraph.")

    assert pdf(page) == [text(JOINED), text("Another paragraph.")]


def test_lines_that_end_early_stay_lines() -> None:
    lines = ["Name: Ann", "Office: Rotterdam", "Function: Head of Purchasing and Logistics", "• hoses", "• pumps"]
    assert pdf(lambda canvas: write(canvas, lines)) == [text("\n".join(lines))]


def test_a_line_at_the_right_margin_does_not_run_into_the_text_below() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH, TOP - PITCH)
        canvas.drawRightString(LEFT + canvas.stringWidth(PARAGRAPH[0]), TOP, "Rotterdam, 3 March")

    assert "Rotterdam, 3 March" in [line for block in pdf(page) for line in block.text.split("\n")]


def test_a_word_divided_at_the_end_of_a_line_is_whole_again() -> None:
    lines = ["A lifting fixture is used wherever the work needs the assem-", "bly of a rotor."]
    assert pdf(lambda canvas: write(canvas, lines)) == [
        text("A lifting fixture is used wherever the work needs the assembly of a rotor.")
    ]


def test_chinese_lines_are_joined_without_spaces() -> None:
    lines = ["员工因个人原因需要请事假的，应当提前三个工作日在系统中提交申请，并经直接", "主管批准后方可离岗。"]
    assert pdf(lambda canvas: write(canvas, lines, font=CHINESE)) == [text("".join(lines))]


def test_headings_are_what_is_set_larger_or_bolder_than_the_text() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["Leave policy of the", "Rotterdam office"], TOP, 20)
        write(canvas, ["1. Scope"], TOP - 60, 14)
        write(canvas, PARAGRAPH, TOP - 80)
        write(canvas, ["1.1 Who may lift?"], TOP - 140, 11, "Helvetica-Bold")
        write(canvas, PARAGRAPH, TOP - 160)

    assert pdf(page) == [
        heading(1, "Leave policy of the Rotterdam office"),
        heading(2, "1. Scope"),
        text(JOINED),
        heading(3, "1.1 Who may lift?"),
        text(JOINED),
    ]


def test_the_title_is_the_largest_heading() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["Scope"], TOP, 14)
        write(canvas, PARAGRAPH, TOP - 40)
        write(canvas, ["Handbook"], TOP - 120, 24)

    assert pdf_format.read(drawn(page)).title == "Handbook"


def test_chinese_numbering_makes_headings_of_lines_that_look_like_text() -> None:
    clause = ["员工上下班须通过人脸识别考勤机打卡，因公外出的应当提前提交外勤申请，", "并定位。"]
    lines = ["第三章 考勤管理", "第十二条 打卡", *clause]
    assert pdf(lambda canvas: write(canvas, lines, font=CHINESE)) == [
        heading(1, "第三章 考勤管理"),
        heading(2, "第十二条 打卡"),
        text("".join(clause)),
    ]


def test_a_clause_that_only_begins_like_a_heading_is_text() -> None:
    line = "第十二条 乙方应当对在合作中知悉的商业秘密予以保密，期限为合同终止后五年。"
    assert pdf(lambda canvas: write(canvas, [line], font=CHINESE)) == [text(line)]


def test_spaced_out_chinese_headings_are_words_again() -> None:
    assert pdf(lambda canvas: write(canvas, ["员 工 手 册", "正文。"], font=CHINESE))[0].text.startswith("员工手册")


def test_a_bold_paragraph_is_not_a_heading() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH * 3)
        write(canvas, PARAGRAPH, TOP - 160, font="Helvetica-Bold")

    assert [block.kind for block in pdf(page)] == ["text", "text"]


def four_pages(number: int) -> Drawing:
    def page(canvas: Canvas) -> None:
        write(canvas, ["Maasling Pumps · Handbook"], 805, 9)
        write(canvas, [f"Fact {number}: {number * 10} pumps were sold."], TOP)
        write(canvas, [f"Part {number}00 costs EUR {number}.50", *PARAGRAPH], 300)
        write(canvas, [f"Page {number} of 4"], 30, 9)

    return page


def test_running_headers_and_page_numbers_are_dropped_and_pages_are_known() -> None:
    blocks = pdf(*(four_pages(number) for number in range(1, 5)))
    assert [(block.page, block.text) for block in blocks if block.text.startswith("Fact")] == [
        (number, f"Fact {number}: {number * 10} pumps were sold.") for number in range(1, 5)
    ]
    whole = " ".join(block.text for block in blocks)
    assert "Maasling" not in whole
    assert "of 4" not in whole
    assert all(f"Part {number}00" in whole for number in range(1, 5))


@pytest.mark.parametrize("number", ["1", "- 1 -", "Page 1", "1 / 9", "第 1 页 共 9 页", "page 1 of 9"])
def test_a_single_page_loses_its_number_too(number: str) -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH)
        write(canvas, [number], 30, 9, CHINESE)

    assert pdf(page) == [text(JOINED)]


def line(content: str, page: int, top: float, size: float = 10) -> Line:
    return Line(content, (Word(content, 72, 300, top - 3),), page, top, size)


def test_rows_of_figures_at_the_edge_of_a_page_are_not_furniture() -> None:
    """They differ in their digits as page numbers do, but not by one from page to page."""
    pages = [
        Page(
            number, 842, (line(f"MR-40{number} costs EUR {price}.00", number, 60), line(f"sold: {price}", number, 800))
        )
        for number, price in enumerate((17, 93, 18, 44), 1)
    ]
    is_dropped = is_furniture(pages)
    assert not any(is_dropped(page, line) for page in pages for line in page.lines)


def test_a_title_that_a_few_slides_share_is_not_furniture() -> None:
    titles = ["Agenda", "Figures", "Agenda", "Outlook", "Agenda", "Thanks", "Questions", "Annex"]
    pages = [
        Page(number, 842, (line(title, number, 60, 24), line("body text " * 9, number, 400)))
        for number, title in enumerate(titles, 1)
    ]
    is_dropped = is_furniture(pages)
    assert not any(is_dropped(page, page.lines[0]) for page in pages)


def test_a_paragraph_that_runs_over_the_page_is_one_and_belongs_to_its_first_page() -> None:
    begin, end = PARAGRAPH[:2], PARAGRAPH[2:]
    assert pdf(lambda canvas: write(canvas, begin, 200), lambda canvas: write(canvas, end, 700)) == [text(JOINED)]


def test_a_paragraph_that_ends_with_its_page_is_not_joined_to_the_next() -> None:
    begin = [PARAGRAPH[0], "used for heavy parts at all of the assembly stations in the two halls of the plant."]
    assert pdf(lambda canvas: write(canvas, begin, 200), lambda canvas: write(canvas, PARAGRAPH, 700)) == [
        text(" ".join(begin)),
        text(JOINED, 2),
    ]


def ruled(rows: list[list[str]], top: float = 600) -> Drawing:
    def page(canvas: Canvas) -> None:
        bottom = top - 20 * len(rows)
        xs = [LEFT + 110 * column for column in range(len(rows[0]) + 1)]
        canvas.grid(xs, [top - 20 * row for row in range(len(rows) + 1)])
        assert bottom > 40
        canvas.setFont("Helvetica", 10)
        for number, row in enumerate(rows):
            for x, cell in zip(xs, row, strict=False):
                canvas.drawString(x + 4, top - 20 * number - 14, cell)

    return page


ROWS = [["Speed (rpm)", "Flow", "Power at 4 bar"], ["10", "0.80", "0.21"], ["20", "1.60", ""]]
TABLE = "| Speed (rpm) | Flow | Power at 4 bar |\n| --- | --- | --- |\n| 10 | 0.80 | 0.21 |\n| 20 | 1.60 |  |"


def test_a_ruled_table_becomes_a_table_between_its_neighbours() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["Before the table."])
        ruled(ROWS)(canvas)
        write(canvas, ["After the table."], 400)

    assert pdf(page) == [text("Before the table."), Block("table", TABLE, page=1), text("After the table.")]


def test_a_table_that_goes_on_the_next_page_gets_its_header_there() -> None:
    more = [["30", "2.39", "0.63"], ["40", "3.19", "0.84"]]
    assert pdf(ruled(ROWS), ruled(more)) == [
        Block("table", TABLE, page=1),
        Block(
            "table",
            "| Speed (rpm) | Flow | Power at 4 bar |\n| --- | --- | --- |\n| 30 | 2.39 | 0.63 |\n| 40 | 3.19 | 0.84 |",
            page=2,
        ),
    ]


def test_a_merged_cell_keeps_its_words_together() -> None:
    def page(canvas: Canvas) -> None:
        for y in (600, 580, 560, 540):
            canvas.line(LEFT, y, LEFT + 330, y)
        canvas.line(LEFT, 540, LEFT, 600)
        canvas.line(LEFT + 330, 540, LEFT + 330, 600)
        for x in (LEFT + 110, LEFT + 220):
            canvas.line(x, 540, x, 580)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(LEFT + 60, 586, "Flow in cubic metres and power in kilowatts")
        for number, cell in enumerate(["a", "b", "c"]):
            canvas.drawString(LEFT + 4 + 110 * number, 566, cell)
            canvas.drawString(LEFT + 4 + 110 * number, 546, cell * 2)

    (table,) = pdf(page)
    assert table.text.startswith("| Flow in cubic metres and power in kilowatts |  |  |\n")


def test_a_cell_over_two_rows_belongs_to_the_first_of_them() -> None:
    def page(canvas: Canvas) -> None:
        for y in (600, 580, 540):
            canvas.line(LEFT, y, LEFT + 220, y)
        canvas.line(LEFT + 110, 560, LEFT + 220, 560)
        for x in (LEFT, LEFT + 110, LEFT + 220):
            canvas.line(x, 540, x, 600)
        canvas.setFont("Helvetica", 10)
        for x, y, cell in ((4, 586, "Pump"), (114, 586, "Shim"), (4, 551, "MR-400"), (114, 566, "2"), (114, 546, "4")):
            canvas.drawString(LEFT + x, y, cell)

    (table,) = pdf(page)
    assert table.text == "| Pump | Shim |\n| --- | --- |\n| MR-400 | 2 |\n|  | 4 |"


def test_a_frame_around_text_is_not_a_table() -> None:
    def page(canvas: Canvas) -> None:
        canvas.rect(60, 600, 480, 180)
        write(canvas, PARAGRAPH)

    assert pdf(page) == [text(JOINED)]


def test_rows_of_single_digits_stay_rows() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, list("0123"), 500)
        for number in range(4):
            canvas.drawString(200, 500 - number * PITCH, str(number) * 3)

    assert [line for block in pdf(page) for line in block.text.split("\n")] == [*"0123", "000", "111", "222", "333"]


def test_a_superscript_stays_in_its_line() -> None:
    def page(canvas: Canvas) -> None:
        output = canvas.beginText(LEFT, TOP)
        output.setFont("Helvetica", 11)
        output.textOut("At most 4.4 m")
        output.setRise(4)
        output.textOut("3")
        output.setRise(0)
        output.textOut(" an hour.")
        canvas.drawText(output)

    assert pdf(page) == [text("At most 4.4 m3 an hour.")]


def test_a_scanned_page_that_is_not_quite_straight_is_read() -> None:
    def page(canvas: Canvas) -> None:
        canvas.rotate(1.5)
        write(canvas, PARAGRAPH)

    assert pdf(page) == [text(JOINED)]


def test_a_watermark_across_the_page_is_dropped() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH)
        canvas.rotate(45)
        write(canvas, ["DRAFT"], 100, 60)

    assert pdf(page) == [text(JOINED)]


def faint(canvas: Canvas, grey: float, words: str = "CONFIDENTIAL") -> None:
    canvas.setFillGray(grey)
    canvas.drawString(LEFT + 100, 400, words)
    canvas.setFillGray(0)


def marked(grey: float, pages: int) -> list[str]:
    """The texts of pages that each carry the same word in that grey."""

    def page(letter: str, canvas: Canvas) -> None:
        write(canvas, [f"Page about subject {letter}."])
        faint(canvas, grey)

    return [block.text for block in pdf(*(partial(page, letter) for letter in "xyz"[:pages]))]


def test_a_faint_word_on_most_pages_is_a_watermark() -> None:
    assert marked(0.8, pages=3) == [f"Page about subject {letter}." for letter in "xyz"]


@pytest.mark.parametrize(("grey", "pages"), [(0.8, 1), (0.3, 3), (1.0, 3)])
def test_a_word_on_one_page_or_in_dark_print_or_in_white_is_no_watermark(grey: float, pages: int) -> None:
    assert marked(grey, pages).count("CONFIDENTIAL") == pages


def test_a_see_through_word_on_most_pages_is_a_watermark() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["Some text of the page itself."])
        canvas.setFillAlpha(0.2)
        canvas.drawString(LEFT + 100, 400, "DRAFT")

    assert "DRAFT" not in str(pdf(page, page))


def test_many_watermarks_askew_do_not_turn_the_page() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["The only line of this page."])
        for place in range(40):
            canvas.saveState()
            canvas.translate(100 + place % 5 * 90, 60 + place // 5 * 80)
            canvas.rotate(30)
            canvas.drawString(0, 0, "DRAFT")
            canvas.restoreState()

    assert [block.text for block in pdf(page)] == ["The only line of this page."]


def test_a_page_on_its_side_is_read_as_its_reader_holds_it() -> None:
    def page(canvas: Canvas) -> None:
        canvas.translate(595, 0)
        canvas.rotate(90)
        write(canvas, ["Handbook"], 500, 20)
        write(canvas, PARAGRAPH, 440)
        write(canvas, ["1"], 20, 9)

    assert pdf(page) == [heading(1, "Handbook"), text(JOINED)]


def test_size_is_what_is_seen_even_if_the_font_is_scaled() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, PARAGRAPH, 500)
        canvas.scale(20, 20)
        canvas.setFont("Helvetica", 1)
        canvas.drawString(4, 35, "Handbook")

    assert heading(1, "Handbook") in pdf(page)


def reason(content: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        pdf_format.read(content)
    return caught.value.reason


def test_a_pdf_with_a_password_is_encrypted() -> None:
    locked = drawn(lambda canvas: write(canvas, PARAGRAPH), encrypt=StandardEncryption("secret", canPrint=0))
    assert reason(locked) == "encrypted"


def test_a_pdf_that_only_its_owner_may_change_is_read() -> None:
    guarded = drawn(lambda canvas: write(canvas, PARAGRAPH), encrypt=StandardEncryption("", "owner", canPrint=0))
    assert pdf_format.read(guarded).blocks == (text(JOINED),)


def test_a_pdf_without_text_needs_ocr() -> None:
    assert reason(drawn(lambda canvas: canvas.rect(100, 100, 300, 300, fill=1))) == "needs_ocr"


def test_a_damaged_pdf_is_corrupt() -> None:
    assert reason(b"%PDF-1.7\n" + b"\0" * 100) == "corrupt"
