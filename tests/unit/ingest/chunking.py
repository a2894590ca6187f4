"""Documents to cut, and what a token is, for the tests of chunking."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from ingest.chunk import Chunker
from ingest.packing import CountTokens
from ingest.records import Block, Chunk, Document
from ingest.settings import ChunkSettings


def count_words(texts: list[str]) -> list[int]:
    """Words and single Chinese characters, and an end token, about as a real tokenizer."""
    return [len(re.findall(r"[\u3000-\uffef]|[^\s\u3000-\uffef]+", text)) + 1 for text in texts]


def count_characters(texts: list[str]) -> list[int]:
    return [len(text) + 2 for text in texts]


def count_oddly(texts: list[str]) -> list[int]:
    """Parts can count less than their whole: every `ab` costs extra."""
    return [len(text.encode("utf-8", "surrogatepass")) // 3 + 4 * text.count("ab") for text in texts]


def document(*blocks: Block, source_file: str = "hr/contract.md") -> Document:
    return Document(f"file:///docs/{source_file}", source_file, "md", "Contract", blocks)


def chunker(max_tokens: int, min_tokens: int = 0, count: CountTokens = count_words) -> Chunker:
    """The limit is given as the model's, because settings allow no chunks as small as a test wants them."""
    return Chunker(count, ChunkSettings(merge_below_tokens=min_tokens), max_tokens)


def chunks(*blocks: Block, max_tokens: int = 20, min_tokens: int = 0, count: CountTokens = count_words) -> list[Chunk]:
    return chunker(max_tokens, min_tokens, count).chunks(document(*blocks))


def heading(level: int, text: str) -> Block:
    return Block("heading", text, level)


def words(number: int, word: str = "word") -> str:
    return " ".join(f"{word}{index}" for index in range(number))


def without_space(text: str) -> str:
    return "".join(text.split())


TEXT = st.text(st.sampled_from("abAB 12\n\t。，！.?!;:“”年假员工手册\u3000é😀\ud800"), min_size=1, max_size=120)
BLOCKS = st.lists(
    st.one_of(
        st.builds(Block, st.just("text"), TEXT, st.just(0), st.none() | st.integers(1, 9)),
        st.builds(Block, st.just("code"), TEXT),
        st.builds(Block, st.just("heading"), st.sampled_from(["One", "Two", "第三章"]), st.integers(1, 4)),
    ),
    max_size=12,
)
COUNTS = st.sampled_from([count_words, count_characters, count_oddly])


def table(rows: int) -> str:
    return "\n".join(("| name | days |", "| --- | --- |", *(f"| n{row} | d{row} |" for row in range(rows))))
