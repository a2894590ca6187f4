"""The sections of a document, and which small neighbours become one.

Headings are block numbers here, so that two sections of the same name are not taken for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from ingest.chunk_pieces import Placed
from ingest.packing import PARAGRAPH_TOKENS, Limits, TokenCounts, utf8_bytes
from ingest.records import Block

MAX_HEADING_BYTES = 1_000  # UTF-8; longer ones are text, so that the path of any depth fits into a sink's column


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks [content, end) under one heading path; each section begins where the one before it ends.

    A heading with nothing under it is a section of its own, and its content.
    """

    headings: tuple[int, ...]  # outermost first
    first: int  # its own headings included: those in the path only, and not in the content
    content: int
    end: int


Joins = Callable[[Sequence[Section], Section], bool]  # whether neighbours, already joined, take in the next section


def sections(blocks: Sequence[Block]) -> Iterator[Section]:
    """Runs of content under one heading path; content before the first heading has an empty path."""
    path: tuple[int, ...] = ()
    first, content = 0, None
    for index, block in enumerate(blocks):
        if not _is_heading(block):
            content = index if content is None else content
            continue
        if content is not None:
            yield Section(path, first, content, index)
            first, content = index, None
        path = (*(heading for heading in path if blocks[heading].level < block.level), index)
        after = blocks[index + 1] if index + 1 < len(blocks) else None
        if after is None or (_is_heading(after) and after.level <= block.level):
            yield Section(path, first, index, index + 1)
            first = index + 1
    if content is not None:
        yield Section(path, first, content, len(blocks))


def _is_heading(block: Block) -> bool:
    return block.kind == "heading" and utf8_bytes(block.text) <= MAX_HEADING_BYTES


def joined(found: Iterable[Section], joins: Joins) -> list[Section]:
    """The sections, those that belong together put together."""
    groups: list[list[Section]] = []
    for section in found:
        if groups and joins(groups[-1], section):
            groups[-1].append(section)
        else:
            groups.append([section])
    return [_together(group) for group in groups]


def _together(group: Sequence[Section]) -> Section:
    """One section under the path that all share; headings below that are lines of its content."""
    first = group[0]
    shared = _shared([section.headings for section in group])
    content = first.headings[len(shared)] if len(shared) < len(first.headings) else first.content
    return Section(shared, first.first, content, group[-1].end) if len(group) > 1 else first


def _shared(paths: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    same = takewhile(lambda headings: len(set(headings)) == 1, zip(*paths, strict=False))
    return tuple(headings[0] for headings in same)


class Sizes:
    """How large any run of blocks is, at the price of one subtraction."""

    def __init__(self, blocks: Sequence[Placed], counts: TokenCounts) -> None:
        self._blocks = blocks
        self._tokens = [0, *accumulate(counts.net(item.block.text) for item in blocks)]

    def tokens(self, first: int, end: int) -> int:
        return self._tokens[end] - self._tokens[first]

    def characters(self, first: int, end: int) -> int:
        return self._blocks[end - 1].end - self._blocks[first].start


def siblings(sizes: Sizes, floor: int) -> Joins:
    """Neighbours of one parent, each of fewer than `floor` tokens, until they have that many together."""

    def joins(group: Sequence[Section], section: Section) -> bool:
        near = group[-1].headings != () != section.headings and group[-1].headings[:-1] == section.headings[:-1]
        each = max(sizes.tokens(one.content, one.end) for one in (group[-1], section))
        return near and each < floor and sizes.tokens(group[0].content, group[-1].end) < floor

    return joins


def by_title(sizes: Sizes, limits: Limits, under: int) -> Joins:
    """Any neighbours, while those before have fewer than `under` characters and all of them fit into one chunk."""

    def joins(group: Sequence[Section], section: Section) -> bool:
        before, whole = _together(group), _together([*group, section])
        is_small = sizes.characters(before.content, before.end) < under
        says_its_path = whole.content >= whole.first  # else a heading would be in neither path nor content
        tokens = sizes.tokens(whole.content, whole.end) + PARAGRAPH_TOKENS * (whole.end - whole.content)
        fits = sizes.characters(whole.content, whole.end) <= limits.characters and tokens <= limits.tokens
        return is_small and says_its_path and fits

    return joins
