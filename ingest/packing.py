"""Blocks → pieces → groups of pieces that fit into a chunk.

Tokens are counted in batches, whole documents at a time, and each text once. Counts of parts do not add up exactly
to the count of the whole, so packing works with estimates; whoever uses the groups counts them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ingest.records import Block
from ingest.seams import cut, sentences, table_parts
from serve_app.core.errors import DocumentError

CountTokens = Callable[[list[str]], list[int]]  # many texts at once; special tokens included

# Tokens do not bound bytes: a word that the vocabulary lacks can be one [UNK] of any length. Sinks hold at most
# 65,535 bytes in a text column, and no text that is worth finding comes near half of that in one chunk.
MAX_CHUNK_BYTES = 32_000

_PARAGRAPH = "\n\n"
_PARAGRAPH_TOKENS = 1


def utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class TokenCounts:
    """The token counts of one document's texts."""

    count: CountTokens
    special: int  # tokens that the tokenizer adds to every text
    known: dict[str, int] = field(default_factory=dict)

    def learn(self, texts: Iterable[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.count(new), strict=True))

    def net(self, text: str) -> int:
        """Without the special tokens."""
        return self.known[text] - self.special


@dataclass(frozen=True, slots=True)
class Piece:
    """What packing does not divide; pieces of one block follow each other without anything between."""

    text: str
    tokens: int  # without special tokens
    block: int
    is_code: bool
    page: int | None
    lead: str = ""  # a table's header: stands before the first of its rows in every chunk
    lead_tokens: int = 0

    def cost(self, before: Piece | None) -> int:
        """Tokens it adds to a group that ends with `before`."""
        if before is None:
            return self.tokens + self.lead_tokens
        return self.tokens if before.block == self.block else self.tokens + self.lead_tokens + _PARAGRAPH_TOKENS


def pieces(blocks: Sequence[Block], counts: TokenCounts, room: int) -> list[list[Piece]]:
    """The pieces of each block; only one of more than `room` tokens or MAX_CHUNK_BYTES has more than one."""
    counts.learn(block.text for block in blocks)
    cuttings = {
        index: _Cutting.of(block, room, counts)
        for index, block in enumerate(blocks)
        if counts.net(block.text) > room or utf8_bytes(block.text) > MAX_CHUNK_BYTES
    }
    unfinished = list(cuttings.values())
    while unfinished:
        counts.learn(part for cutting in unfinished for part in cutting.parts)
        unfinished = [cutting for cutting in unfinished if cutting.shorten(counts)]
    return [
        cuttings[index].pieces(index, counts)
        if index in cuttings
        else [Piece(block.text, counts.net(block.text), index, block.kind == "code", block.page)]
        for index, block in enumerate(blocks)
    ]


@dataclass(slots=True)
class _Cutting:
    """A block on its way into parts of at most `limit` tokens and, with the lead, MAX_CHUNK_BYTES."""

    block: Block
    limit: int
    parts: list[str]
    lead: str = ""

    @classmethod
    def of(cls, block: Block, room: int, counts: TokenCounts) -> _Cutting:
        if block.kind == "text":
            return cls(block, room, sentences(block.text))
        if block.kind == "table":
            header, rows = table_parts(block.text)
            counts.learn([header])
            if rows and counts.net(header) <= room // 2 and utf8_bytes(header) <= MAX_CHUNK_BYTES // 2:
                return cls(block, room - counts.net(header), rows, header)
        return cls(block, room, block.text.splitlines(keepends=True))

    def shorten(self, counts: TokenCounts) -> bool:
        """Cut what is still too long; returns whether there was any."""
        before = len(self.parts)
        self.parts = [short for part in self.parts for short in self._shortened(part, counts.net(part))]
        return len(self.parts) > before

    def _shortened(self, part: str, tokens: int) -> Iterable[str]:
        excess = max(tokens / self.limit, utf8_bytes(part) / (MAX_CHUNK_BYTES - utf8_bytes(self.lead)))
        if excess <= 1 or len(part) == 1:
            return [part]
        likely = int(0.9 * len(part) / excess)
        return cut(part, max(1, min(likely, (len(part) + 1) // 2)))

    def pieces(self, index: int, counts: TokenCounts) -> list[Piece]:
        lead_tokens = counts.net(self.lead) if self.lead else 0
        return [
            Piece(part, counts.net(part), index, self.block.kind == "code", self.block.page, self.lead, lead_tokens)
            for part in self.parts
        ]


def packed(sequence: Sequence[Piece], room: int, floor: int) -> list[list[Piece]]:
    """Groups of at most `room` tokens, in order; the last one is filled up to `floor` tokens where that is possible."""
    groups: list[list[Piece]] = []
    used = 0
    for piece in sequence:
        cost = piece.cost(groups[-1][-1] if groups else None)
        if groups and used + cost <= room:
            groups[-1].append(piece)
            used += cost
        else:
            groups.append([piece])
            used = piece.cost(None)
    while len(groups) > 1 and _size(groups[-1]) < floor <= _size(groups[-2][:-1]):
        fuller = [groups[-2][-1], *groups[-1]]
        if _size(fuller) > room:
            break
        groups[-2:] = [groups[-2][:-1], fuller]
    return groups


def _size(group: Sequence[Piece]) -> int:
    return sum(piece.cost(before) for before, piece in zip([None, *group], group, strict=False))


def rendered(group: Sequence[Piece]) -> str:
    """The text of a chunk."""
    parts: list[str] = []
    for before, piece in zip([None, *group], group, strict=False):
        if before is None:
            parts.append(piece.lead)
        elif before.block != piece.block:
            parts += (_PARAGRAPH, piece.lead)
        parts.append(piece.text)
    text = "".join(parts).rstrip()
    return text.lstrip("\n") if group[0].is_code else text.lstrip()


def halved(group: Sequence[Piece]) -> list[list[Piece]]:
    """A group that turned out too long, as two; DocumentError (indivisible) if it is a single character."""
    if len(group) > 1:
        return [list(group[: len(group) // 2]), list(group[len(group) // 2 :])]
    piece = group[0]
    if len(piece.text) > 1:
        return [[replace(piece, text=part)] for part in cut(piece.text, (len(piece.text) + 1) // 2)]
    if piece.lead:
        return [[replace(piece, lead="", lead_tokens=0)]]
    raise DocumentError(
        "A single character takes more tokens than a chunk may have; allow more tokens in a chunk.",
        reason="indivisible",
    )
