"""PowerPoint files, made here so that every case is in sight."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from pptx import Presentation
from pptx.util import Cm

from ingest.parse import pptx as powerpoint
from ingest.records import Block
from serve_app.core.errors import DocumentError

COVER, TITLE_AND_CONTENT, TITLE_ONLY, BLANK = 0, 1, 5, 6


def slide(deck: Any, title: str = "", layout: int = TITLE_ONLY) -> Any:
    added = deck.slides.add_slide(deck.slide_layouts[layout])
    if title:
        added.shapes.title.text = title
    return added


def write(shapes: Any, text: str, top: float = 5, left: float = 2) -> None:
    shapes.add_textbox(Cm(left), Cm(top), Cm(8), Cm(1)).text_frame.text = text


def add_table(added: Any, rows: Sequence[Sequence[str]]) -> Any:
    table = added.shapes.add_table(len(rows), len(rows[0]), Cm(2), Cm(8), Cm(10), Cm(4)).table
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            table.cell(number, column).text = text
    return table


def saved(deck: Any) -> bytes:
    buffer = BytesIO()
    deck.save(buffer)
    return buffer.getvalue()


def blocks(deck: Any) -> list[Block]:
    return list(powerpoint.read(saved(deck)).blocks)


def test_slides_are_pages_and_their_titles_headings() -> None:
    deck = Presentation()
    write(slide(deck, "Pump").shapes, "It pumps.")
    write(slide(deck, "阀门").shapes, "它关闭。")
    assert blocks(deck) == [
        Block("heading", "Pump", 1, 1),
        Block("text", "It pumps.", page=1),
        Block("heading", "阀门", 1, 2),
        Block("text", "它关闭。", page=2),
    ]


def test_a_cover_names_the_document_and_stands_above_the_other_slides() -> None:
    deck = Presentation()
    slide(deck, "Manual", COVER)
    slide(deck, "Pump")
    parsed = powerpoint.read(saved(deck))
    assert parsed.title == "Manual"
    assert [block.level for block in parsed.blocks] == [1, 2]


def test_shapes_are_read_from_top_to_bottom_and_from_left_to_right() -> None:
    deck = Presentation()
    shapes = slide(deck, layout=BLANK).shapes
    for text, top, left in (("last", 10, 2), ("right", 5.1, 12), ("left", 5.2, 2), ("first", 1, 9)):
        write(shapes, text, top, left)
    assert [block.text for block in blocks(deck)] == ["first", "left", "right", "last"]


def test_the_levels_of_a_list_are_kept() -> None:
    deck = Presentation()
    frame = slide(deck, "Parts", TITLE_AND_CONTENT).placeholders[1].text_frame
    frame.text = "Pump"
    for level, text in ((1, "rotor"), (2, "blade")):
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = text, level
    assert blocks(deck)[1].text == "Pump\n  - rotor\n    - blade"


def test_a_table_is_a_table_and_a_merged_cell_is_repeated() -> None:
    deck = Presentation()
    table = add_table(slide(deck), [["Part", "Price"], ["Hose", "5"], ["", "6"], ["all", ""]])
    table.cell(1, 0).merge(table.cell(2, 0))
    table.cell(3, 0).merge(table.cell(3, 1))
    (block,) = blocks(deck)
    assert block.kind == "table"
    assert block.text.split("\n")[2:] == ["| Hose | 5 |", "| Hose | 6 |", "| all | all |"]


def test_notes_and_groups_are_read() -> None:
    deck = Presentation()
    added = slide(deck, "Pump")
    write(added.shapes.add_group_shape().shapes, "inside a group")
    added.notes_slide.notes_text_frame.text = "Tell them about the rotor."
    assert [block.text for block in blocks(deck)] == ["Pump", "inside a group", "Tell them about the rotor."]


def test_a_hidden_slide_stays_hidden_and_keeps_its_number() -> None:
    deck = Presentation()
    slide(deck, "secret").element.set("show", "0")
    slide(deck, "shown")
    assert blocks(deck) == [Block("heading", "shown", 1, 2)]


def test_footers_and_slide_numbers_are_not_text() -> None:
    deck: Any = Presentation()
    added = slide(deck, "Pump")
    for placeholder in deck.slide_layouts[TITLE_ONLY].placeholders:
        added.shapes.clone_placeholder(placeholder)
    for shape in list(added.placeholders)[1:]:
        shape.text_frame.text = "furniture"
    kinds = {str(shape.placeholder_format.type) for shape in added.placeholders}
    assert any("SLIDE_NUMBER" in kind for kind in kinds)
    assert [block.text for block in blocks(deck) if block.page == 1].count("furniture") == 1  # the second title's


@pytest.mark.parametrize("part", ["[Content_Types].xml", "ppt/presentation.xml", "ppt/slides/slide1.xml"])
def test_a_damaged_part_makes_the_file_corrupt(part: str) -> None:
    deck = Presentation()
    slide(deck, "Pump")
    buffer = BytesIO()
    with ZipFile(BytesIO(saved(deck))) as old, ZipFile(buffer, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, {part: b"<broken"}.get(name, old.read(name)))
    with pytest.raises(DocumentError) as caught:
        powerpoint.read(buffer.getvalue())
    assert caught.value.reason == "corrupt"


def test_a_workbook_is_no_presentation() -> None:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", b"<x/>")
    with pytest.raises(DocumentError) as caught:
        powerpoint.read(buffer.getvalue())
    assert caught.value.reason == "corrupt"
