from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import Block, Chunk, Document, chunk_key, document_text

ANY_TEXT = st.text(st.characters(codec=None), max_size=12)
ANY_PATH = st.lists(ANY_TEXT, max_size=3).map(tuple)
IDENTITY = st.tuples(ANY_TEXT, ANY_TEXT, ANY_PATH, ANY_TEXT, st.integers(0, 3), ANY_TEXT)
CHUNK = Chunk("k", "c_0001", "file:///c.md", "c.md", "md", "C", ("One", "Two"), None, None, 0, 3, "text")


def document(source: str, part: str = "", *blocks: Block) -> Document:
    return Document(source, "c.md", "md", "C", blocks, part=part)


def key(source: str, part: str, path: tuple[str, ...], text: str, occurrence: int, context: str) -> str:
    return chunk_key(document(source, part), path, text, occurrence, context)


@settings(deadline=None)  # the machine may be busy
@given(IDENTITY)
def test_a_key_is_32_hex_characters_even_for_text_that_utf8_cannot_hold(
    identity: tuple[str, str, tuple[str, ...], str, int, str],
) -> None:
    found = key(*identity)
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")


def test_a_key_stays_what_it_was_in_earlier_releases() -> None:
    """A stored collection is found again only by the very same keys."""
    found = chunk_key(document("手册.pdf"), ("第一章", "1.1"), "年假为 5 天。", 0)
    assert found == "a31ace7d927aebd665b6206ebeaa1558"


@settings(deadline=None)  # the machine may be busy
@given(IDENTITY, IDENTITY)
def test_different_chunks_have_different_keys(
    one: tuple[str, str, tuple[str, ...], str, int, str], other: tuple[str, str, tuple[str, ...], str, int, str]
) -> None:
    assert (key(*one) == key(*other)) == (one == other)


def test_text_that_moves_from_one_part_of_a_chunk_s_identity_to_another_changes_the_key() -> None:
    keys = {
        key("a", "", ("b",), "c", 0, ""),
        key("ab", "", (), "c", 0, ""),
        key("a", "", ("b", "c"), "", 0, ""),
        key("a", "b", (), "c", 0, ""),
        key("a", "", (), "c", 0, "b"),
        key("a", "", (), "b\n\nc", 0, ""),
        key("a", "", ("c", "0", "\x1f", "b"), "c", 0, ""),
    }
    assert len(keys) == 7


def test_the_section_title_is_the_innermost_heading() -> None:
    assert CHUNK.section_title == "Two"


def test_a_chunk_outside_every_section_has_an_empty_section_title() -> None:
    assert replace(CHUNK, heading_path=()).section_title == ""


def test_a_context_is_embedded_before_the_text() -> None:
    assert CHUNK.embedded_text == "text"
    assert replace(CHUNK, context="C > One").embedded_text == "C > One\n\ntext"


def test_the_text_of_a_document_is_its_blocks_with_headings_on_one_line() -> None:
    blocks = (Block("heading", "Annual\n  leave ", 1), Block("text", " 5 days\na year"), Block("code", "x\n"))
    assert document_text(document("a", "", *blocks)) == "Annual leave\n\n 5 days\na year\n\nx\n"
