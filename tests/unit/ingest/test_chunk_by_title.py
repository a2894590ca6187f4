from __future__ import annotations

import pytest

from ingest.chunk import BY_TITLE, Chunker
from ingest.records import Block, Chunk
from ingest.settings import ChunkSettings
from tests.unit.ingest.chunking import count_characters, count_words, document, heading

SENTENCE = "The tenant pays the rent on the first day of every month. "  # 58 characters


def by_title(*blocks: Block, settings: ChunkSettings = BY_TITLE) -> list[Chunk]:
    return Chunker(count_words, settings, 32_768).chunks(document(*blocks))


def text(characters: int) -> Block:
    return Block("text", (SENTENCE * (characters // len(SENTENCE) + 1))[: characters - 1] + ".")


def lengths(*blocks: Block) -> list[int]:
    return [len(chunk.text) for chunk in by_title(*blocks)]


def test_the_preset_has_the_well_known_limits() -> None:
    limits = (BY_TITLE.max_characters, BY_TITLE.new_after_characters, BY_TITLE.combine_under_characters)
    assert limits == (2_000, 1_500, 500)


def test_chunks_of_a_large_mixed_document_are_within_the_limits() -> None:
    blocks = [
        block
        for number in range(200)
        for block in (
            heading(number % 3 + 1, f"Part {number}"),
            *(text(20 + (number * 7919 + part * 104_729) % 2_980) for part in range(3)),
        )
    ]
    found = lengths(*blocks)
    assert max(found) <= 2_000
    assert sum(length >= 1_000 for length in found) > 0.6 * len(found)


def test_blocks_fill_a_chunk_up_to_the_hard_limit_only_while_it_is_below_the_soft_one() -> None:
    assert lengths(text(1_490), text(400)) == [1_892]
    assert lengths(text(1_500), text(400)) == [1_500, 400]
    assert lengths(text(1_490), text(509)) == [1_490, 509]


def test_a_block_beyond_the_hard_limit_is_cut_at_sentence_ends() -> None:
    found = by_title(text(5_000))
    assert [chunk.text[-1] for chunk in found] == ["."] * 3
    assert max(len(chunk.text) for chunk in found) <= 2_000


def test_small_sections_are_combined_until_they_are_no_longer_small() -> None:
    blocks = [block for number in range(8) for block in (heading(2, f"Section {number}"), text(200))]
    found = by_title(heading(1, "Contract"), *blocks)
    assert [chunk.text.count("Section") for chunk in found] == [3, 3, 2]
    assert {chunk.heading_path for chunk in found} == {("Contract",)}


def test_a_small_section_is_combined_with_a_large_one_only_if_both_fit() -> None:
    small, large = (heading(1, "Small"), text(300)), (heading(1, "Large"), text(1_600))
    assert [chunk.heading_path for chunk in by_title(*small, *large)] == [()]
    larger = (heading(1, "Large"), text(1_800))
    assert [chunk.heading_path for chunk in by_title(*small, *larger)] == [("Small",), ("Large",)]


def test_a_section_and_its_subsection_are_combined_under_the_section() -> None:
    found = by_title(heading(1, "Rent"), text(100), heading(2, "Due date"), text(100))
    assert [chunk.heading_path for chunk in found] == [("Rent",)]
    assert "\n\nDue date\n\n" in found[0].text


def test_sections_are_not_combined_where_a_heading_would_be_lost() -> None:
    """`Due date` shares no parent with `Notice`, and its own, Rent, stands far before it."""
    found = by_title(
        *(heading(1, "Rent"), text(1_300)),
        *(heading(2, "Due date"), text(100)),
        *(heading(1, "Notice"), text(100)),
    )
    assert [chunk.heading_path for chunk in found] == [("Rent",), ("Rent", "Due date"), ("Notice",)]


def test_nothing_is_combined_with_a_limit_of_zero() -> None:
    settings = BY_TITLE.model_copy(update={"combine_under_characters": 0})
    found = by_title(heading(1, "A"), text(60), heading(1, "B"), text(60), settings=settings)
    assert [chunk.heading_path for chunk in found] == [("A",), ("B",)]


def test_a_table_is_whole_within_the_limit_and_keeps_its_header_beyond_it() -> None:
    header, row = "| item | price |\n| --- | --- |\n", "| a long name of an item | 1,000,000 |\n"
    assert len(by_title(Block("table", header + row * 45))) == 1
    found = by_title(Block("table", header + row * 90))
    assert len(found) == 2
    assert all(chunk.text.startswith(header) and len(chunk.text) <= 2_000 for chunk in found)


def test_a_row_that_would_fit_alone_is_cut_where_it_does_not_fit_under_its_header() -> None:
    header, row = "| item |\n| --- |\n", f"| {'word ' * 18}|\n"
    settings = ChunkSettings(max_characters=100, merge_below_tokens=0)
    found = by_title(Block("table", header + row * 2), settings=settings)
    assert (len(row), len(found)) == (94, 4)
    assert all(chunk.text.startswith(header) and len(chunk.text) <= 100 for chunk in found)


def test_the_last_chunk_of_a_section_is_not_filled_up_beyond_the_hard_limit() -> None:
    """By tokens alone, the second block would go to the third."""
    blocks = (Block("text", "a " * 9 + "a"), Block("text", "b" * 70), Block("text", "c" * 60))
    found = by_title(*blocks, settings=ChunkSettings(max_characters=100, merge_below_tokens=8))
    assert [len(chunk.text) for chunk in found] == [91, 60]


@pytest.mark.parametrize("model_limit", [128, 512])
def test_a_model_s_own_limit_holds_beside_the_characters(model_limit: int) -> None:
    found = Chunker(count_characters, BY_TITLE, model_limit).chunks(document(text(5_000)))
    assert max(chunk.tokens for chunk in found) <= model_limit


def test_chinese_text_reaches_the_limit_in_characters_before_the_one_in_tokens() -> None:
    sentence = "员工请病假须提交医院证明，年假当年有效。"
    found = by_title(Block("text", sentence * 300))
    assert [len(chunk.text) for chunk in found] == [2_000, 2_000, 2_000]
