from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.packing import MAX_CHUNK_BYTES, CountTokens
from ingest.records import Block, Document
from serve_app.core.errors import DocumentError, SetupError
from tests.unit.ingest.chunking import (
    BLOCKS,
    COUNTS,
    TEXT,
    chunker,
    chunks,
    count_characters,
    count_words,
    document,
    heading,
    table,
    without_space,
    words,
)


def texts(*blocks: Block, max_tokens: int = 20, min_tokens: int = 0) -> list[str]:
    return [chunk.text for chunk in chunks(*blocks, max_tokens=max_tokens, min_tokens=min_tokens)]


@settings(deadline=None)  # the machine may be busy
@given(BLOCKS, st.lists(st.lists(TEXT, min_size=2, max_size=2), max_size=5), COUNTS, st.integers(14, 60), st.data())
def test_no_chunk_is_longer_than_the_limit(
    blocks: list[Block], rows: list[list[str]], count: CountTokens, limit: int, data: st.DataObject
) -> None:
    table = Block("table", "\n".join(f"| {' | '.join(map(without_space, row))} |" for row in rows))
    found = chunks(*blocks, table, max_tokens=limit, min_tokens=data.draw(st.integers(0, limit // 2)), count=count)
    assert all(chunk.tokens <= limit for chunk in found)
    assert [chunk.tokens for chunk in found] == count([chunk.text for chunk in found])


@settings(deadline=None)  # the machine may be busy
@given(BLOCKS, COUNTS, st.integers(14, 60))
def test_the_chunks_together_are_the_text(blocks: list[Block], count: CountTokens, limit: int) -> None:
    """A heading counts as text only where nothing stands under it."""
    after = [*blocks[1:], heading(0, "")]
    kept = [
        block.text
        for block, following in zip(blocks, after, strict=False)
        if block.kind != "heading" or (following.kind == "heading" and following.level <= block.level)
    ]
    found = chunks(*blocks, max_tokens=limit, count=count)
    assert without_space("".join(chunk.text for chunk in found)) == without_space("".join(kept))


@settings(deadline=None)  # the machine may be busy
@given(BLOCKS, st.integers(14, 60), st.integers(0, 7))
def test_keys_are_unique_and_come_out_the_same_again(blocks: list[Block], limit: int, floor: int) -> None:
    found = chunks(*blocks, max_tokens=limit, min_tokens=floor)
    assert len({chunk.key for chunk in found}) == len(found)
    assert len({chunk.chunk_id for chunk in found}) == len(found)
    assert found == chunks(*blocks, max_tokens=limit, min_tokens=floor)


@settings(deadline=None)  # the machine may be busy
@given(BLOCKS, st.integers(2, 7))
def test_merging_small_sections_loses_no_text(blocks: list[Block], floor: int) -> None:
    merged = without_space("".join(texts(*blocks, min_tokens=floor)))
    for block in blocks:
        assert block.kind == "heading" or without_space(block.text) in merged


def test_an_inserted_paragraph_leaves_the_keys_of_other_sections_alone() -> None:
    one, two = [heading(1, "One"), Block("text", words(15))], [heading(1, "Two"), Block("text", "the same")]
    before, after = chunks(*one, *two), chunks(*one, Block("text", words(15, "new")), *two)
    assert before[-1].chunk_id != after[-1].chunk_id
    assert {chunk.key for chunk in before} < {chunk.key for chunk in after}


def test_the_heading_path_follows_the_outline() -> None:
    found = chunks(
        Block("text", "preface"),
        *(heading(1, "1"), Block("text", "a")),
        *(heading(2, "1.1"), heading(3, "1.1.1"), Block("text", "b")),
        *(heading(2, "1.2"), Block("text", "c")),
        *(heading(1, "2"), Block("text", "d")),
    )
    assert [(chunk.text, chunk.heading_path) for chunk in found] == [
        ("preface", ()),
        ("a", ("1",)),
        ("b", ("1", "1.1", "1.1.1")),
        ("c", ("1", "1.2")),
        ("d", ("2",)),
    ]


def test_a_skipped_heading_level_does_not_confuse_the_path() -> None:
    found = chunks(heading(1, "1"), heading(4, "deep"), Block("text", "a"), heading(2, "1.1"), Block("text", "b"))
    assert [chunk.heading_path for chunk in found] == [("1", "deep"), ("1", "1.1")]


def test_a_document_without_headings_is_packed_into_full_chunks() -> None:
    assert texts(*(Block("text", f"{words(8)}") for _ in range(5))) == [
        f"{words(8)}\n\n{words(8)}",
        f"{words(8)}\n\n{words(8)}",
        words(8),
    ]


def test_a_heading_with_nothing_under_it_can_still_be_found() -> None:
    found = chunks(heading(1, "Handbook"), heading(2, "Smoking is forbidden"), heading(2, "Parking"))
    assert [(chunk.text, chunk.section_title) for chunk in found] == [
        ("Smoking is forbidden", "Smoking is forbidden"),
        ("Parking", "Parking"),
    ]


def test_long_text_is_cut_at_the_ends_of_sentences() -> None:
    text = f"{words(12, 'a')}. “{words(4, 'b')}!” {words(9, 'c')}? {words(3, 'd')}."
    assert texts(Block("text", text)) == [f"{words(12, 'a')}. “{words(4, 'b')}!”", f"{words(9, 'c')}? {words(3, 'd')}."]


def test_a_heading_as_long_as_a_text_is_cut_as_one() -> None:
    sentence = f"{words(9)} {'x' * 200}."
    assert texts(heading(1, " ".join([sentence] * 5)), max_tokens=25) == [f"{sentence} {sentence}"] * 2 + [sentence]


def test_chinese_text_is_cut_at_the_ends_of_sentences() -> None:
    text = "员工请病假须提交医院证明。年假当年有效！“是否可以结转？”可以，最多五天。"
    assert texts(Block("text", text), max_tokens=22) == [
        "员工请病假须提交医院证明。年假当年有效！",
        "“是否可以结转？”可以，最多五天。",
    ]


def test_a_sentence_too_long_for_a_chunk_is_cut_between_clauses() -> None:
    text = "甲方应当在收到货物之后，及时完成数量和外观的验收，并且在三日内书面通知乙方，逾期视为合格。"
    found = texts(Block("text", text), max_tokens=26)
    assert "".join(found) == text
    assert all(part.endswith(("，", "。")) for part in found)


def test_a_word_too_long_for_a_chunk_is_cut_as_the_last_resort() -> None:
    found = chunks(Block("text", "x" * 1000), max_tokens=66, count=count_characters)
    assert "".join(chunk.text for chunk in found) == "x" * 1000
    assert len(found) <= 32


def test_the_number_of_a_list_item_stays_with_its_text() -> None:
    items = "\n".join(f"{number}. {words(8)}" for number in range(1, 6))
    assert all(re.match(r"\d\. word0", text) for text in texts(Block("text", items)))


def test_a_block_that_fits_is_not_cut_to_fill_a_chunk() -> None:
    assert texts(Block("text", words(12)), Block("text", words(12, "b"))) == [words(12), words(12, "b")]


def test_a_table_that_fits_is_kept_whole() -> None:
    assert texts(Block("text", words(15)), Block("table", table(1)), max_tokens=17) == [words(15), table(1)]


def test_a_table_keeps_its_header_row_when_it_is_split() -> None:
    found = texts(Block("table", table(10)), max_tokens=26)
    assert len(found) > 1
    assert all(text.startswith("| name | days |\n| --- | --- |\n| n") for text in found)
    assert [row for text in found for row in text.split("\n")[2:]] == table(10).split("\n")[2:]
    assert [text.count("\n") - 1 for text in found] == [3, 3, 3, 1]


def test_text_and_the_first_rows_of_a_long_table_share_a_chunk() -> None:
    first, *others = texts(Block("text", "The leave table:"), Block("table", table(10)), max_tokens=26)
    assert first.startswith("The leave table:\n\n| name | days |\n| --- | --- |\n| n0 ")
    assert all("leave table" not in text for text in others)


def test_a_row_too_long_for_a_chunk_is_cut_under_its_header() -> None:
    found = texts(Block("table", f"| a | b |\n| --- | --- |\n| {words(40)} | end |"), max_tokens=24)
    assert all(text.startswith("| a | b |\n| --- | --- |\n") for text in found)


def test_a_header_that_would_fill_the_chunk_is_not_repeated() -> None:
    found = texts(Block("table", f"| {words(14)} |\n| --- |\n| {words(9, 'cell')} |"), max_tokens=20)
    assert sum("word0" in text for text in found) == 1


def test_code_is_cut_between_its_lines_and_keeps_its_indentation() -> None:
    code = "\n".join(f"    step {number} of the job" for number in range(12))
    found = texts(Block("code", code), max_tokens=26)
    assert "\n".join(found) == code
    assert all(text.startswith("    step") for text in found)


def test_a_chunk_knows_the_pages_it_comes_from() -> None:
    blocks = [Block("text", words(6), page=page) for page in (2, 2, 3, 5)]
    assert [(chunk.page_number, chunk.page_end) for chunk in chunks(*blocks, max_tokens=24)] == [(2, 3), (5, 5)]


def test_a_chunk_of_a_format_without_pages_has_no_page() -> None:
    (chunk,) = chunks(Block("text", "text"))
    assert (chunk.page_number, chunk.page_end) == (None, None)


def test_small_neighbours_are_put_together_under_their_parent() -> None:
    found = chunks(
        heading(1, "FAQ"),
        *(heading(2, "Open?"), Block("text", "Yes.", page=1), heading(2, "Parking?"), Block("text", "No.", page=2)),
        *(heading(2, "Lunch"), Block("text", words(12), page=2)),
        min_tokens=5,
    )
    assert [(chunk.text, chunk.heading_path) for chunk in found] == [
        ("Open?\n\nYes.\n\nParking?\n\nNo.", ("FAQ",)),
        (words(12), ("FAQ", "Lunch")),
    ]
    assert (found[0].page_number, found[0].page_end) == (1, 2)


def test_small_sections_of_different_parents_stay_apart() -> None:
    blocks = [
        heading(1, "A"),
        heading(2, "a"),
        Block("text", "x"),
        heading(1, "B"),
        heading(2, "b"),
        Block("text", "y"),
    ]
    assert [chunk.heading_path for chunk in chunks(*blocks, min_tokens=5)] == [("A", "a"), ("B", "b")]


def test_the_last_chunk_of_a_section_is_not_a_crumb() -> None:
    sentences = [f"{words(4)}." for _ in range(5)]
    found = chunks(Block("text", " ".join(sentences)), max_tokens=17, min_tokens=8)
    assert [len(chunk.text.split()) for chunk in found] == [12, 8]


def test_equal_texts_in_one_section_have_different_keys() -> None:
    one, two = chunks(Block("text", words(15)), Block("text", words(15)))
    assert one.text == two.text
    assert one.key != two.key


@pytest.mark.parametrize(
    ("source_file", "expected"),
    [
        ("hr/Contract 2025 (final).docx", "contract_2025_final_0001"),
        ("年假与考勤制度.md", "年假与考勤制度_0001"),
        ("!!!.md", "document_0001"),
    ],
)
def test_the_chunk_id_is_made_for_people(source_file: str, expected: str) -> None:
    (chunk,) = chunker(20).chunks(document(Block("text", "text"), source_file=source_file))
    assert chunk.chunk_id == expected


def test_a_chunk_carries_what_its_document_says() -> None:
    (chunk,) = chunks(Block("text", "text"))
    assert (chunk.source_file, chunk.format, chunk.title, chunk.ordinal) == ("hr/contract.md", "md", "Contract", 0)


def test_a_document_without_words_has_no_chunks() -> None:
    assert chunks() == chunks(Block("text", " \n\t "), Block("code", "\n")) == []


def test_every_text_is_counted_a_few_times_and_in_batches() -> None:
    calls: list[int] = []

    def count(batch: list[str]) -> list[int]:
        calls.append(sum(map(len, batch)))
        return count_words(batch)

    blocks = [Block("text", ". ".join(f"{words(9)} {number}" for number in range(2000)))] * 3
    chunker(64, count=count).chunks(document(*blocks))
    assert len(calls) <= 8
    assert sum(calls) <= 6 * sum(len(block.text) for block in blocks)


def test_a_limit_without_room_for_text_is_refused() -> None:
    with pytest.raises(SetupError, match="the least is 9"):
        chunker(8)


def test_a_character_that_cannot_fit_is_refused_and_does_not_loop() -> None:
    with pytest.raises(DocumentError, match="single character") as caught:
        chunker(20, count=lambda batch: [100 if text else 1 for text in batch]).chunks(document(Block("text", "abc")))
    assert caught.value.reason == "indivisible"


def test_a_chunk_of_few_tokens_is_bounded_in_bytes_too() -> None:
    """To a vocabulary that lacks it, a run of characters is one unknown token, however long it is."""
    run = "0123456789abcdef" * 4_500
    found = chunks(Block("text", run), max_tokens=20)
    assert "".join(chunk.text for chunk in found) == run
    assert len(found) < 8
    assert max(len(chunk.text.encode()) for chunk in found) <= MAX_CHUNK_BYTES


@pytest.mark.parametrize(
    "block",
    [
        Block("code", "\n".join(["é" * 9_000] * 5)),
        Block("table", "| a |\n| --- |\n" + "\n".join(["| " + "x" * 20_000 + " |"] * 5)),
        Block("table", f"| {'h' * 40_000} |\n| --- |\n| {'x' * 40_000} |"),
        Block("heading", "h" * 70_000, 1),
    ],
    ids=["code", "rows", "header", "heading"],
)
def test_no_kind_of_block_gives_a_chunk_of_too_many_bytes(block: Block) -> None:
    found = chunks(block, Block("text", "end"), max_tokens=100)
    assert len(found) < 20
    assert max(len(chunk.text.encode()) for chunk in found) <= MAX_CHUNK_BYTES
    assert max(len(title.encode()) for chunk in found for title in ("", *chunk.heading_path)) <= 1_000


def test_sections_that_fit_in_tokens_are_not_packed_over_the_bytes() -> None:
    blocks = [Block("text", character * 20_000) for character in "abc"]
    assert [len(chunk.text) for chunk in chunks(*blocks)] == [20_000] * 3


def test_a_chunk_s_key_belongs_to_the_document_and_not_to_its_name() -> None:
    block = Block("text", "the same text")
    hr, it = (Document(f"file:///{folder}/README.md", "README.md", "md", "R", (block,)) for folder in ("hr", "it"))
    assert chunker(20).chunks(hr)[0].key != chunker(20).chunks(it)[0].key
