from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.chunk import Chunker
from ingest.chunk_context import MAX_CONTEXT_BYTES, MAX_CONTEXT_TOKENS, contexts
from ingest.packing import TokenCounts, utf8_bytes
from ingest.records import Block, Chunk, Document, document_text
from ingest.settings import ChunkSettings
from tests.unit.ingest.chunking import count_words, document, heading, words

LEASE = document(heading(1, "Rent"), heading(2, "Due date"), Block("text", "The rent is due on the first."))


def with_context(cut: Document, tokens: int = 400) -> list[Chunk]:
    return Chunker(count_words, ChunkSettings(tokens=tokens, merge_below_tokens=0, context=True), 32_768).chunks(cut)


def context(title: str, *path: str, limit: int = MAX_CONTEXT_TOKENS) -> str:
    return contexts(title, [path], TokenCounts(count_words, 1), limit)[path]


def test_title_and_heading_path_are_embedded_before_the_text_and_kept_apart_from_it() -> None:
    (chunk,) = with_context(LEASE)
    assert chunk.context == "Contract > Rent > Due date"
    assert chunk.text == "The rent is due on the first."
    assert chunk.embedded_text == "Contract > Rent > Due date\n\nThe rent is due on the first."
    assert chunk.tokens == count_words([chunk.embedded_text])[0]
    assert document_text(LEASE)[chunk.start : chunk.end] == chunk.text


def test_without_the_setting_there_is_no_context() -> None:
    (chunk,) = Chunker(count_words, ChunkSettings(), 32_768).chunks(LEASE)
    assert (chunk.context, chunk.embedded_text) == ("", chunk.text)


def test_another_title_makes_another_chunk_only_where_it_is_embedded() -> None:
    renamed = replace(LEASE, title="Lease")
    assert with_context(LEASE)[0].key != with_context(renamed)[0].key
    plain = Chunker(count_words, ChunkSettings(), 32_768)
    assert plain.chunks(LEASE)[0].key == plain.chunks(renamed)[0].key


def test_context_and_text_share_the_tokens_of_a_chunk() -> None:
    cut = document(heading(1, words(6, "chapter")), Block("text", ". ".join(words(7) for _ in range(20))))
    found = with_context(cut, tokens=40)
    assert len(found) > 4
    assert all(32 <= chunk.tokens <= 40 for chunk in found[:-1])
    assert found[-1].tokens <= 40
    assert {chunk.context for chunk in found} == {f"Contract > {words(6, 'chapter')}"}


def test_a_title_that_is_the_outermost_heading_too_is_said_once() -> None:
    assert context("Rent", "Rent", "Due date") == "Rent > Due date"


def test_headings_in_the_middle_of_a_long_path_are_left_out_first() -> None:
    assert context("T", "a b c", "d e", "f", limit=9) == "T > … > d e > f"


def test_the_title_is_left_out_before_the_innermost_heading_is() -> None:
    assert context(words(9), "a", "b", limit=6) == "… > b"


def test_an_innermost_heading_beyond_the_limit_is_cut() -> None:
    assert context("T", words(12), limit=4) == "word0 word1 word2…"


@pytest.mark.parametrize("title", ["", " \n "])
def test_where_there_is_neither_title_nor_heading_there_is_no_context(title: str) -> None:
    assert context(title) == ""


def test_a_context_of_few_tokens_is_bounded_in_bytes_too() -> None:
    found = context("é" * 300, *("章" + "é" * 499 for _ in range(9)))
    assert 1_000 < utf8_bytes(found) <= MAX_CONTEXT_BYTES


def test_no_context_takes_more_than_a_quarter_of_a_small_chunk() -> None:
    found = with_context(document(heading(1, words(30, "long")), Block("text", words(60))), tokens=33)
    assert all(count_words([chunk.context])[0] - 1 <= 8 for chunk in found)
    assert all(chunk.context for chunk in found)
