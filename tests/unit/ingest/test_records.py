from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Chunk, chunk_key

ANY_TEXT = st.text(st.characters(codec=None), max_size=12)
ANY_PATH = st.lists(ANY_TEXT, max_size=3).map(tuple)


@given(ANY_TEXT, ANY_PATH, ANY_TEXT, st.integers(0, 9))
def test_a_key_is_32_hex_characters_even_for_text_that_utf8_cannot_hold(
    source: str, path: tuple[str, ...], text: str, occurrence: int
) -> None:
    key = chunk_key(source, path, text, occurrence)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")


def test_a_key_stays_what_it_was_in_earlier_releases() -> None:
    """A stored collection is found again only by the very same keys."""
    assert chunk_key("手册.pdf", ("第一章", "1.1"), "年假为 5 天。", 0) == "a31ace7d927aebd665b6206ebeaa1558"


@given(st.tuples(ANY_TEXT, ANY_PATH, ANY_TEXT, st.integers(0, 3)), st.tuples(ANY_TEXT, ANY_PATH, ANY_TEXT))
def test_different_chunks_have_different_keys(
    one: tuple[str, tuple[str, ...], str, int], other: tuple[str, tuple[str, ...], str]
) -> None:
    assert (chunk_key(*one) == chunk_key(*other, 0)) == (one == (*other, 0))


def test_text_that_moves_between_the_path_and_the_source_changes_the_key() -> None:
    assert chunk_key("a", ("b",), "c", 0) != chunk_key("ab", (), "c", 0)
    assert chunk_key("a", ("b", "c"), "", 0) != chunk_key("a", ("b",), "c", 0)


def test_the_section_title_is_the_innermost_heading() -> None:
    chunk = Chunk("k", "c_0001", "file:///c.md", "c.md", "md", "C", ("One", "Two"), None, None, 0, 3, "text")
    assert chunk.section_title == "Two"


def test_a_chunk_outside_every_section_has_an_empty_section_title() -> None:
    chunk = Chunk("k", "c_0001", "file:///c.md", "c.md", "md", "C", (), None, None, 0, 3, "text")
    assert chunk.section_title == ""
