"""Blocks → pieces: whole where they fit into a chunk, else cut at table rows, lines of code or sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.packing import MAX_CHUNK_BYTES, Limits, Piece, TokenCounts, utf8_bytes
from ingest.records import BETWEEN_BLOCKS, Block
from ingest.seams import cut, sentences, table_parts


@dataclass(frozen=True, slots=True)
class Placed:
    """A block and where its first character stands in the document's text."""

    block: Block
    index: int
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.block.text)


def placed(blocks: Iterable[Block]) -> list[Placed]:
    """The blocks in the order of the document, none left out."""
    found: list[Placed] = []
    start = 0
    for index, block in enumerate(blocks):
        found.append(Placed(block, index, start))
        start = found[-1].end + len(BETWEEN_BLOCKS)
    return found


def pieces(blocks: Sequence[tuple[Placed, Limits]], counts: TokenCounts) -> list[list[Piece]]:
    """The pieces of each block; only one beyond its limits has more than one."""
    counts.learn(item.block.text for item, _ in blocks)
    cuttings = {
        item.index: _Cutting.of(item, limits, counts) for item, limits in blocks if _is_long(item, limits, counts)
    }
    unfinished = list(cuttings.values())
    while unfinished:
        counts.learn(part for cutting in unfinished for part in cutting.parts)
        unfinished = [cutting for cutting in unfinished if cutting.shorten(counts)]
    return [
        cuttings[item.index].pieces(counts) if item.index in cuttings else [_whole(item, counts)] for item, _ in blocks
    ]


def _is_long(item: Placed, limits: Limits, counts: TokenCounts) -> bool:
    text = item.block.text
    return counts.net(text) > limits.tokens or len(text) > limits.characters or utf8_bytes(text) > MAX_CHUNK_BYTES


def _whole(item: Placed, counts: TokenCounts) -> Piece:
    block = item.block
    return Piece(block.text, item.start, counts.net(block.text), item.index, block.kind == "code", block.page)


@dataclass(slots=True)
class _Cutting:
    """A block on its way into parts that are within the limits, a repeated header included."""

    item: Placed
    limits: Limits
    parts: list[str]
    header: str = ""  # of a table, repeated over every part; not among them

    @classmethod
    def of(cls, item: Placed, limits: Limits, counts: TokenCounts) -> _Cutting:
        text = item.block.text
        if item.block.kind in ("text", "heading"):
            return cls(item, limits, sentences(text))
        if item.block.kind == "table":
            header, rows = table_parts(text)
            counts.learn([header])
            if rows and counts.net(header) <= limits.tokens // 2 and _is_half(header, limits):
                return cls(item, _beside(header, limits, counts), rows, header)
        return cls(item, limits, text.splitlines(keepends=True))

    def shorten(self, counts: TokenCounts) -> bool:
        """Cut what is still too long; returns whether there was any."""
        before = len(self.parts)
        self.parts = [short for part in self.parts for short in self._shortened(part, counts.net(part))]
        return len(self.parts) > before

    def _shortened(self, part: str, tokens: int) -> Iterable[str]:
        excess = max(
            tokens / self.limits.tokens,
            len(part) / self.limits.characters,
            utf8_bytes(part) / (MAX_CHUNK_BYTES - utf8_bytes(self.header)),
        )
        if excess <= 1 or len(part) == 1:
            return [part]
        likely = int(0.9 * len(part) / excess)
        return cut(part, max(1, min(likely, (len(part) + 1) // 2)))

    def pieces(self, counts: TokenCounts) -> list[Piece]:
        """The first row has the header in its own text, the others as what may be repeated before them."""
        lead_tokens = counts.net(self.header) if self.header else 0
        is_code, page = self.item.block.kind == "code", self.item.block.page
        first = self.header + self.parts[0]
        tokens = lead_tokens + counts.net(self.parts[0])
        found = [Piece(first, self.item.start, tokens, self.item.index, is_code, page, header=len(self.header))]
        for part in self.parts[1:]:
            start, net = found[-1].end, counts.net(part)
            found.append(Piece(part, start, net, self.item.index, is_code, page, self.header, lead_tokens))
        return found


def _is_half(header: str, limits: Limits) -> bool:
    return utf8_bytes(header) <= MAX_CHUNK_BYTES // 2 and len(header) <= limits.characters // 2


def _beside(header: str, limits: Limits, counts: TokenCounts) -> Limits:
    """What the header leaves of the limits."""
    return Limits(limits.tokens - counts.net(header), limits.characters - len(header))
