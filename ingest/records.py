"""What travels through the pipeline: a document's blocks, its chunks, and their identities."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "text", "table", "code"]


@dataclass(frozen=True, slots=True)
class Block:
    """One structural unit of a document, in reading order.

    `level` is 1 for the outermost heading and 0 for anything that is not a heading; `page` counts from 1 and is
    None where the format has no pages. A table's text is Markdown, header row first.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    `source` is its identity, an absolute file URI; `source_file` is the path a person recognises, relative to the
    folder that was ingested, and two documents of one collection may share it.
    """

    source: str
    source_file: str
    format: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, small enough to embed, that still says where it comes from."""

    key: str  # content-addressed primary key, stable between runs
    chunk_id: str  # for people: contract_0001; it is positional and may move when text is inserted
    source: str  # the document's identity: an absolute file URI
    source_file: str  # for people, and for filters
    format: str
    title: str
    heading_path: tuple[str, ...]
    page_number: int | None  # first page
    page_end: int | None
    ordinal: int  # 0, 1, 2 … in the document
    tokens: int
    text: str

    @property
    def section_title(self) -> str:
        return self.heading_path[-1] if self.heading_path else ""


def chunk_key(source: str, heading_path: tuple[str, ...], text: str, occurrence: int) -> str:
    """Primary key from content: 32 hex characters.

    `occurrence` tells apart equal texts under the same heading of one source (0 for the first).
    """
    digest = hashlib.sha256()
    for part in (source, *heading_path, "\x1e", text, str(occurrence)):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:32]
