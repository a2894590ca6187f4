"""Documents → chunks within a token budget, cut where the documents themselves have seams.

Pure: what a token is comes in as a function, so nothing here knows a tokenizer.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath

from ingest.packing import (
    MAX_CHUNK_BYTES,
    CountTokens,
    Piece,
    TokenCounts,
    halved,
    packed,
    pieces,
    rendered,
    utf8_bytes,
)
from ingest.records import Block, Chunk, Document, chunk_key
from serve_app.core.errors import SetupError

_MIN_ROOM = 8  # tokens; less holds no text worth finding
_MAX_SLUG = 60  # characters
_MAX_HEADING_BYTES = 1_000  # UTF-8; longer ones are text, so that the path of any depth fits into a sink's column
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    path: _Path
    blocks: tuple[Block, ...]
    is_bare: bool = False  # nothing stands under the heading, so it is content itself: the only block


class Chunker:
    """Cuts documents by section, and what is too long by block, then by table row, line of code or sentence."""

    def __init__(self, count: CountTokens, max_tokens: int, min_tokens: int = 0) -> None:
        """`max_tokens` bounds every chunk, special tokens included, and so does MAX_CHUNK_BYTES.

        Neighbouring sections of one parent with fewer than `min_tokens` are put together; with 0 none are.
        Raises SetupError if the limits leave no room for text.
        """
        self._count = count
        self._special = count([""])[0]
        self._max_tokens = max_tokens
        self._min_tokens = min_tokens
        self._room = max_tokens - self._special
        if self._room < _MIN_ROOM:
            raise SetupError(f"A chunk of {max_tokens} tokens is too small; the least is {_MIN_ROOM + self._special}.")
        if not 0 <= min_tokens <= max_tokens // 2:
            raise SetupError(f"Chunks of at least {min_tokens} tokens need a limit of {2 * min_tokens} or more.")

    def chunks(self, document: Document) -> list[Chunk]:
        """In document order; the document's text is in them once, its headings in their paths.

        A heading with nothing under it is text too. Raises DocumentError (indivisible) if not even one character fits
        into a chunk.
        """
        counts = TokenCounts(self._count, self._special)
        sections = self._merged(list(_sections(document.blocks)), counts)
        blocks = iter(pieces([block for section in sections for block in section.blocks], counts, self._room))
        groups: list[tuple[_Path, list[Piece]]] = []
        for section in sections:
            own = [piece for block in islice(blocks, len(section.blocks)) for piece in block]
            groups += [(section.path, group) for group in packed(own, self._room, self._min_tokens)]
        return _records(document, self._fitting(groups, counts), counts)

    def _merged(self, sections: list[_Section], counts: TokenCounts) -> list[_Section]:
        """Small neighbours with one parent as one section under that parent, their headings as lines of text."""
        counts.learn(block.text for section in sections for block in section.blocks)
        merged: list[_Section] = []
        waiting: list[_Section] = []
        used = 0
        for section in sections:
            size = sum(counts.net(block.text) for block in section.blocks)
            is_small = size < self._min_tokens and section.path != ()
            is_near = waiting != [] and waiting[-1].path[:-1] == section.path[:-1]
            if waiting and not (is_small and is_near and used < self._min_tokens):
                merged.append(_joined(waiting))
                waiting, used = [], 0
            if is_small:
                waiting.append(section)
                used += size
            else:
                merged.append(section)
        return [*merged, _joined(waiting)] if waiting else merged

    def _fitting(
        self, groups: list[tuple[_Path, list[Piece]]], counts: TokenCounts
    ) -> list[tuple[_Path, list[Piece], str]]:
        """The groups with their texts, divided until the real count of each is within the limit."""
        while True:
            texts = [(path, group, rendered(group)) for path, group in groups]
            counts.learn(text for _, _, text in texts)
            if all(self._fits(text, counts) for _, _, text in texts):
                return [item for item in texts if item[2]]
            groups = [
                (path, part)
                for path, group, text in texts
                for part in ([group] if self._fits(text, counts) else halved(group))
            ]

    def _fits(self, text: str, counts: TokenCounts) -> bool:
        return counts.known[text] <= self._max_tokens and utf8_bytes(text) <= MAX_CHUNK_BYTES


def _sections(blocks: Sequence[Block]) -> Iterator[_Section]:
    """Runs of content under one heading path; content before the first heading has an empty path."""
    open_headings: list[tuple[int, str]] = []
    content: list[Block] = []
    for index, block in enumerate(blocks):
        if not _is_heading(block):
            content.append(replace(block, kind="text", level=0) if block.kind == "heading" else block)
            continue
        if content:
            yield _Section(tuple(text for _, text in open_headings), tuple(content))
        text = " ".join(block.text.split())
        open_headings = [
            *((level, title) for level, title in open_headings if level < block.level),
            (block.level, text),
        ]
        content = []
        after = blocks[index + 1] if index + 1 < len(blocks) else None
        if after is None or (_is_heading(after) and after.level <= block.level):
            path = tuple(title for _, title in open_headings)
            yield _Section(path, (Block("text", text, page=block.page),), is_bare=True)
    if content:
        yield _Section(tuple(text for _, text in open_headings), tuple(content))


def _is_heading(block: Block) -> bool:
    return block.kind == "heading" and utf8_bytes(block.text) <= _MAX_HEADING_BYTES


def _joined(sections: list[_Section]) -> _Section:
    if len(sections) == 1:
        return sections[0]
    blocks: list[Block] = []
    for section in sections:
        heading = Block("text", section.path[-1], page=section.blocks[0].page)
        blocks += section.blocks if section.is_bare else (heading, *section.blocks)
    return _Section(sections[0].path[:-1], tuple(blocks))


def _records(document: Document, groups: list[tuple[_Path, list[Piece], str]], counts: TokenCounts) -> list[Chunk]:
    slug = _slug(document.source_file)
    seen = Counter[tuple[_Path, str]]()
    chunks = []
    for ordinal, (path, group, text) in enumerate(groups):
        known_pages = [piece.page for piece in group if piece.page is not None]
        chunks.append(
            Chunk(
                key=chunk_key(document.source, path, text, seen[path, text]),
                chunk_id=f"{slug}_{ordinal + 1:04d}",
                source=document.source,
                source_file=document.source_file,
                format=document.format,
                title=document.title,
                heading_path=path,
                page_number=min(known_pages, default=None),
                page_end=max(known_pages, default=None),
                ordinal=ordinal,
                tokens=counts.known[text],
                text=text,
            )
        )
        seen[path, text] += 1
    return chunks


def _slug(source_file: str) -> str:
    """The file's name without its extension, as one word; letters of every script stay."""
    stem = unicodedata.normalize("NFKC", PurePosixPath(source_file).stem).lower()
    return re.sub(r"\W+", "_", stem).strip("_")[:_MAX_SLUG] or "document"
