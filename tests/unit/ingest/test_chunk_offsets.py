from __future__ import annotations

import bisect

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.chunk import Chunker
from ingest.packing import CountTokens
from ingest.records import Block, Chunk, Document, document_text
from ingest.seams import table_parts
from ingest.settings import ChunkSettings
from tests.unit.ingest.chunking import COUNTS, TEXT, chunker, document, heading, table, without_space, words

LONG = st.lists(TEXT, min_size=1, max_size=4).map("".join)
CELLS = st.lists(st.lists(TEXT.map(without_space), min_size=2, max_size=2), min_size=1, max_size=8)
TABLES = CELLS.map(lambda rows: Block("table", "\n".join(f"| {' | '.join(cells)} |" for cells in rows)))
DOCUMENTS = st.lists(
    st.one_of(
        st.builds(Block, st.just("text"), LONG),
        st.builds(Block, st.just("code"), LONG),
        TABLES,
        st.builds(heading, st.integers(1, 4), st.sampled_from(["One", "Two\n two", "第三章", "One"])),
    ),
    max_size=12,
).map(lambda blocks: document(*blocks))
SETTINGS = st.builds(
    ChunkSettings,
    merge_below_tokens=st.integers(0, 30),
    context=st.booleans(),
    max_characters=st.just(100) | st.integers(100, 400),
    new_after_characters=st.none() | st.integers(50, 100),
    combine_under_characters=st.none() | st.integers(0, 100),
) | st.builds(ChunkSettings, merge_below_tokens=st.integers(0, 30), context=st.booleans())
LIMITS = st.integers(16, 80)


def lead(chunk: Chunk) -> str:
    """What stands before the text of the document in a chunk."""
    return chunk.text[: len(chunk.text) - (chunk.end - chunk.start)]


def starts(cut: Document) -> list[int]:
    """Of every block, in the document's text."""
    return [
        len(document_text(document(*cut.blocks[:index], Block("text", "x")))) - 1 for index in range(len(cut.blocks))
    ]


@settings(deadline=None)  # the machine may be busy
@given(DOCUMENTS, SETTINGS, COUNTS, LIMITS)
def test_the_offsets_of_a_chunk_give_its_text_but_for_a_table_s_repeated_header(
    cut: Document, options: ChunkSettings, count: CountTokens, limit: int
) -> None:
    text, places = document_text(cut), starts(cut)
    for chunk in Chunker(count, options, limit).chunks(cut):
        assert chunk.text == lead(chunk) + text[chunk.start : chunk.end]
        index = bisect.bisect_right(places, chunk.start) - 1
        header = table_parts(cut.blocks[index].text)[0]
        assert lead(chunk) == "" or (
            cut.blocks[index].kind == "table" and lead(chunk) == header and chunk.start >= places[index] + len(header)
        )


@settings(deadline=None)  # the machine may be busy
@given(DOCUMENTS, SETTINGS, COUNTS, LIMITS)
def test_every_character_that_is_not_blank_is_in_one_chunk_but_for_headings_with_something_under_them(
    cut: Document, options: ChunkSettings, count: CountTokens, limit: int
) -> None:
    text = document_text(cut)
    found = Chunker(count, options, limit).chunks(cut)
    covered = [0] * len(text)
    for chunk in found:
        covered[chunk.start : chunk.end] = [times + 1 for times in covered[chunk.start : chunk.end]]
    assert max(covered, default=0) <= 1
    assert [chunk.start for chunk in found] == sorted(chunk.start for chunk in found)
    following = [*cut.blocks[1:], heading(0, "end")]
    for start, block, after in zip(starts(cut), cut.blocks, following, strict=False):
        is_parent = block.kind == "heading" and (after.kind != "heading" or after.level > block.level)
        inside = zip(text[start : start + len(block.text)], covered[start : start + len(block.text)], strict=False)
        assert is_parent or all(times == 1 or character.isspace() for character, times in inside)


@settings(deadline=None)  # the machine may be busy
@given(DOCUMENTS, SETTINGS, COUNTS, LIMITS)
def test_no_chunk_is_beyond_any_of_its_limits(
    cut: Document, options: ChunkSettings, count: CountTokens, limit: int
) -> None:
    found = Chunker(count, options, limit).chunks(cut)
    assert [chunk.tokens for chunk in found] == count([chunk.embedded_text for chunk in found])
    assert max((chunk.tokens for chunk in found), default=0) <= limit
    assert max((len(chunk.text) for chunk in found), default=0) <= (options.max_characters or 32_000)


def test_headings_of_sections_put_together_are_part_of_what_the_offsets_span() -> None:
    cut = document(
        heading(1, "FAQ"),
        *(heading(2, "Open  now?"), Block("text", "Yes.")),
        *(heading(2, "Parking?"), Block("text", "No.")),
    )
    (chunk,) = chunker(20, min_tokens=8).chunks(cut)
    assert document_text(cut) == "FAQ\n\nOpen now?\n\nYes.\n\nParking?\n\nNo."
    assert (chunk.start, chunk.text) == (5, "Open now?\n\nYes.\n\nParking?\n\nNo.")


def test_the_first_chunk_of_a_split_table_spans_its_header_and_the_others_only_their_rows() -> None:
    cut = document(Block("table", table(10)))
    first, second, *_ = chunker(26).chunks(cut)
    assert (first.start, lead(first)) == (0, "")
    assert lead(second) == "| name | days |\n| --- | --- |\n"
    assert document_text(cut)[second.start : second.end] == second.text.removeprefix(lead(second))


def test_the_header_of_a_table_is_kept_even_when_its_first_row_has_to_be_halved() -> None:
    def count(batch: list[str]) -> list[int]:
        """A table costs more than its parts, so that what was packed does not fit."""
        return [len(text) // 2 + 12 * ("---" in text and "cell" in text) + 1 for text in batch]

    text = f"| name |\n| --- |\n| {words(9, 'cell')} |"
    found = chunker(40, count=count).chunks(document(Block("table", text)))
    assert found[0].text.startswith("| name |\n| --- |\n")
    assert "".join(
        without_space(document_text(document(Block("table", text)))[chunk.start : chunk.end]) for chunk in found
    ) == without_space(text)


def test_a_header_and_a_row_that_do_not_fit_together_at_all_are_a_chunk_each() -> None:
    def count(batch: list[str]) -> list[int]:
        return [len(text) + 50 * ("---" in text and text.endswith("x")) + 1 for text in batch]

    found = chunker(50, count=count).chunks(document(Block("table", "| name |\n| --- |\nx")))
    assert [(chunk.text, chunk.start, chunk.end) for chunk in found] == [("| name |\n| --- |", 0, 16), ("x", 17, 18)]


def test_two_parents_of_the_same_name_are_not_taken_for_one() -> None:
    chapter = (heading(1, "Chapter"), heading(2, "Notes"), Block("text", "None."))
    found = chunker(40, min_tokens=10).chunks(document(*chapter, *chapter))
    assert [chunk.heading_path for chunk in found] == [("Chapter", "Notes")] * 2
