"""Groups of pieces that fit into a chunk, and the text that each group becomes.

Tokens are counted in batches, whole documents at a time, and each text once. Counts of parts do not add up exactly
to the count of the whole, so packing works with estimates; whoever uses the groups counts them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ingest.seams import cut
from serve_app.core.errors import DocumentError

CountTokens = Callable[[list[str]], list[int]]  # many texts at once; special tokens included

# Tokens do not bound bytes: a word that the vocabulary lacks can be one [UNK] of any length. Sinks hold at most
# 65,535 bytes in a text column, and no text that is worth finding comes near half of that in one chunk.
MAX_CHUNK_BYTES = 32_000
PARAGRAPH_TOKENS = 1  # what an empty line between two blocks costs, about


def utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one chunk's text, each by itself; MAX_CHUNK_BYTES holds beside them."""

    tokens: int  # without special tokens and context
    characters: int = MAX_CHUNK_BYTES
    full_at: int = MAX_CHUNK_BYTES  # a chunk of so many characters takes no further block


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
    """What packing does not divide: characters [start, start + len(text)) of the document's text.

    Pieces of one block follow each other without anything between. The rows of a table that is split have its header
    as their `lead`, which is repeated in chunks that begin with them; the first row has it in its own text.
    """

    text: str
    start: int
    tokens: int  # without special tokens
    block: int
    is_code: bool
    page: int | None
    lead: str = ""
    lead_tokens: int = 0
    header: int = 0  # leading characters of `text` that are the table's header

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def cost(self, before: Piece | None) -> int:
        """Tokens it adds to a group that ends with `before`."""
        if before is None:
            return self.tokens + self.lead_tokens
        return self.tokens if before.block == self.block else self.tokens + PARAGRAPH_TOKENS


@dataclass(frozen=True, slots=True)
class Passage:
    """The text of a chunk. Behind its first `lead` characters it is the document's text from start to end."""

    text: str
    start: int
    end: int
    lead: int = 0


def packed(sequence: Sequence[Piece], limits: Limits, floor: int) -> list[list[Piece]]:
    """Groups within the limits, in order; the last one is filled up to `floor` tokens where that is possible."""
    groups: list[list[Piece]] = []
    used = 0
    for piece in sequence:
        cost = piece.cost(groups[-1][-1] if groups else None)
        if groups and used + cost <= limits.tokens and _may_follow(groups[-1], piece, limits):
            groups[-1].append(piece)
            used += cost
        else:
            groups.append([piece])
            used = piece.cost(None)
    while len(groups) > 1 and _tokens(groups[-1]) < floor <= _tokens(groups[-2][:-1]):
        fuller = [groups[-2][-1], *groups[-1]]
        if not _is_within(fuller, limits):
            break
        groups[-2:] = [groups[-2][:-1], fuller]
    return groups


def _may_follow(group: Sequence[Piece], piece: Piece, limits: Limits) -> bool:
    """Whether the limits in characters let the group grow by this piece."""
    is_full = group[-1].block != piece.block and _characters(group) >= limits.full_at
    return not is_full and piece.end - group[0].start + len(group[0].lead) <= limits.characters


def _is_within(group: Sequence[Piece], limits: Limits) -> bool:
    return _tokens(group) <= limits.tokens and all(
        _may_follow(group[:index], group[index], limits) for index in range(1, len(group))
    )


def _tokens(group: Sequence[Piece]) -> int:
    return sum(piece.cost(before) for before, piece in zip([None, *group], group, strict=False))


def _characters(group: Sequence[Piece]) -> int:
    return group[-1].end - group[0].start + len(group[0].lead)


def rendered(group: Sequence[Piece], source: str) -> Passage:
    """The group as text, without blank space around it; `source` is the document's text."""
    first, end = group[0], group[-1].end
    body = source[first.start : end].rstrip()
    end = first.start + len(body)
    body = body.lstrip("\n") if first.is_code else body.lstrip()
    lead = first.lead.lstrip() if body else ""
    return Passage(lead + body, end - len(body), end, len(lead))


def halved(group: Sequence[Piece]) -> list[list[Piece]]:
    """A group that turned out too long, as two or three; DocumentError (indivisible) if it is a single character."""
    if len(group) > 1:
        return [list(group[: len(group) // 2]), list(group[len(group) // 2 :])]
    piece = group[0]
    header, body = piece.text[: piece.header], piece.text[piece.header :]
    if len(body) > 1:
        return [[part] for part in _parts(piece, list(cut(body, (len(body) + 1) // 2)))]
    if header:
        row = replace(piece, text=body, start=piece.start + len(header), header=0)
        return [[replace(piece, text=header, header=0)], [row]]
    if piece.lead:
        return [[replace(piece, lead="", lead_tokens=0)]]
    raise DocumentError(
        "A single character takes more tokens than a chunk may have; allow more tokens in a chunk.",
        reason="indivisible",
    )


def _parts(piece: Piece, texts: Sequence[str]) -> list[Piece]:
    """A piece as several: the header stays with the first, and is repeated before the others."""
    parts = [replace(piece, text=piece.text[: piece.header] + texts[0])]
    for text in texts[1:]:
        lead = piece.text[: piece.header] or piece.lead
        parts.append(replace(piece, text=text, start=parts[-1].end, lead=lead, header=0))
    return parts
