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

from ingest.chunk_context import MAX_CONTEXT_TOKENS, contexts
from ingest.chunk_pieces import pieces, placed
from ingest.chunk_sections import Joins, Sizes, by_title, joined, sections, siblings
from ingest.packing import (
    MAX_CHUNK_BYTES,
    PARAGRAPH_TOKENS,
    CountTokens,
    Limits,
    Passage,
    Piece,
    TokenCounts,
    halved,
    packed,
    rendered,
    utf8_bytes,
)
from ingest.records import Chunk, Document, block_text, chunk_key, document_text, embedded_text
from ingest.settings import ChunkSettings
from serve_app.core.errors import SetupError

CHUNKER_VERSION = "1"  # to be raised with every change that cuts the same document in another way

# The limits in characters that users of `unstructured` know from chunking by title. The tokens are as many as 2,000
# Chinese characters may take, so that the characters decide wherever the model's own limit is not below that.
BY_TITLE = ChunkSettings(tokens=2_048, max_characters=2_000, new_after_characters=1_500, combine_under_characters=500)

_MIN_ROOM = 8  # tokens; less holds no text worth finding
_MAX_SLUG = 60  # characters
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A chunk on its way; `passage` is its group as text."""

    path: _Path
    context: str
    group: list[Piece]
    passage: Passage

    @property
    def embedded(self) -> str:
        return embedded_text(self.context, self.passage.text)

    def halved(self, text: str) -> list[_Draft]:
        return [replace(self, group=group, passage=rendered(group, text)) for group in halved(self.group)]


class Chunker:
    """Cuts documents by section, and what is too long by block, then by table row, line of code or sentence.

    The limits of `settings`, besides the one in tokens, are in characters of a chunk's text: none has more than
    `max_characters`; one that has `new_after_characters` takes no further block; and a section that has fewer than
    `combine_under_characters` is put together with those after it, as long as they fit into one chunk. Where that
    last one is not set, neighbouring sections of one parent with fewer than `merge_below_tokens` are put together.
    """

    def __init__(self, count: CountTokens, settings: ChunkSettings, max_tokens: int) -> None:
        """`max_tokens` is the model's limit, special tokens included; the lower one of it and `settings.tokens` holds.

        Raises SetupError if that leaves no room for text.
        """
        self._count = count
        self._special = count([""])[0]
        self._settings = settings
        self._max_tokens = min(settings.tokens, max_tokens)
        self._min_tokens = min(settings.merge_below_tokens, self._max_tokens // 2)
        room = self._max_tokens - self._special
        if room < _MIN_ROOM:
            least = _MIN_ROOM + self._special
            raise SetupError(f"A chunk of {self._max_tokens} tokens is too small; the least is {least}.")
        characters = settings.max_characters or MAX_CHUNK_BYTES
        self._limits = Limits(room, characters, settings.new_after_characters or characters)
        self._context_tokens = min(MAX_CONTEXT_TOKENS, room // 4) if settings.context else 0

    def chunks(self, document: Document) -> list[Chunk]:
        """In document order. `text` is `document_text(document)[start:end]`, but for a header repeated over table rows.

        Every character of the document that is not blank is in exactly one chunk, but for headings with something
        under them: these are in the paths, and in the text only where sections were put together. Raises
        DocumentError (indivisible) if not even one character fits into a chunk.
        """
        counts = TokenCounts(self._count, self._special)
        text = document_text(document)
        drafts = self._fitting(self._drafts(document, text, counts), text, counts)
        return list(_records(document, drafts, counts))

    def _drafts(self, document: Document, text: str, counts: TokenCounts) -> list[_Draft]:
        """Every section packed, by estimates of what its chunks have in tokens."""
        blocks = placed(replace(block, text=block_text(block)) for block in document.blocks)
        counts.learn(item.block.text for item in blocks)
        found = joined(sections([item.block for item in blocks]), self._joins(Sizes(blocks, counts)))
        paths = [tuple(blocks[heading].block.text for heading in section.headings) for section in found]
        said = self._contexts(document.title, paths, counts)
        limits = [self._limits_beside(said[path], counts) for path in paths]
        cut = iter(
            pieces(
                [
                    (item, bounds)
                    for section, bounds in zip(found, limits, strict=True)
                    for item in blocks[section.content : section.end]
                ],
                counts,
            )
        )
        drafts = []
        for section, path, bounds in zip(found, paths, limits, strict=True):
            own = [piece for block in islice(cut, section.end - section.content) for piece in block]
            groups = packed(own, bounds, self._min_tokens)
            drafts += [_Draft(path, said[path], group, rendered(group, text)) for group in groups]
        return drafts

    def _joins(self, sizes: Sizes) -> Joins:
        under = self._settings.combine_under_characters
        if under is None:
            return siblings(sizes, self._min_tokens)
        return by_title(sizes, replace(self._limits, tokens=self._limits.tokens - self._context_tokens), under)

    def _contexts(self, title: str, paths: list[_Path], counts: TokenCounts) -> dict[_Path, str]:
        return (
            contexts(title, paths, counts, self._context_tokens) if self._context_tokens else dict.fromkeys(paths, "")
        )

    def _limits_beside(self, context: str, counts: TokenCounts) -> Limits:
        """What the context leaves of the limits."""
        used = counts.net(context) + PARAGRAPH_TOKENS if context else 0
        return replace(self._limits, tokens=self._limits.tokens - used)

    def _fitting(self, drafts: list[_Draft], text: str, counts: TokenCounts) -> list[_Draft]:
        """The drafts that have text, divided until the real count of each is within the limit."""
        while True:
            counts.learn(draft.embedded for draft in drafts)
            if all(self._fits(draft, counts) for draft in drafts):
                return [draft for draft in drafts if draft.passage.text]
            drafts = [
                part for draft in drafts for part in ([draft] if self._fits(draft, counts) else draft.halved(text))
            ]

    def _fits(self, draft: _Draft, counts: TokenCounts) -> bool:
        is_short = utf8_bytes(draft.passage.text) <= MAX_CHUNK_BYTES
        return is_short and counts.known[draft.embedded] <= self._max_tokens


def _records(document: Document, drafts: Sequence[_Draft], counts: TokenCounts) -> Iterator[Chunk]:
    stem = "_".join(filter(None, (_slug(PurePosixPath(document.source_file).stem) or "document", _slug(document.part))))
    seen = Counter[tuple[_Path, str]]()
    for ordinal, draft in enumerate(drafts):
        passage = draft.passage
        occurrence = seen[draft.path, passage.text]
        seen[draft.path, passage.text] += 1
        known_pages = [piece.page for piece in draft.group if piece.page is not None]
        yield Chunk(
            key=chunk_key(document, draft.path, passage.text, occurrence, draft.context),
            chunk_id=f"{stem}_{ordinal + 1:04d}",
            source=document.source,
            source_file=document.source_file,
            format=document.format,
            title=document.title,
            heading_path=draft.path,
            page_number=min(known_pages, default=None),
            page_end=max(known_pages, default=None),
            ordinal=ordinal,
            tokens=counts.known[draft.embedded],
            text=passage.text,
            context=draft.context,
            start=passage.start,
            end=passage.end,
            part=document.part,
            language=document.language,
            file_hash=document.file_hash,
            metadata=document.metadata,
        )


def _slug(name: str) -> str:
    """The name as one word; letters of every script stay."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name).lower()).strip("_")[:_MAX_SLUG]
