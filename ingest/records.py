"""What travels through the pipeline: a document's blocks, its chunks, and their identities."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BlockKind = Literal["heading", "text", "table", "code"]
Scalar = str | int | float | bool
BETWEEN_BLOCKS = "\n\n"
PATH_MARK = " > "  # between the headings of a path that is written as one text
Metadata = Mapping[str, Scalar]  # what users say about a document: flat, and filterable under their own names


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
    """A parsed file, or one record of a ready-made corpus.

    `source` is the file's identity, an absolute URI; `source_file` is the path a person recognises, relative to the
    folder that was ingested, and two documents of one collection may share it.
    """

    source: str
    source_file: str
    format: str
    title: str
    blocks: tuple[Block, ...]
    part: str = ""  # the record inside a source that holds many (JSONL, Parquet); empty for a file that is one document
    language: str = ""  # ISO 639-1 of most of the text; empty where there is too little to tell
    file_hash: str = ""  # SHA-256 of the file's bytes, hexadecimal
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, small enough to embed, that still says where it comes from."""

    key: str  # content-addressed primary key, stable between runs
    chunk_id: str  # for people: contract_0001; it is positional and may move when text is inserted
    source: str  # the document's identity: an absolute URI
    source_file: str  # for people, and for filters
    format: str
    title: str
    heading_path: tuple[str, ...]
    page_number: int | None  # first page
    page_end: int | None
    ordinal: int  # 0, 1, 2 … in the document
    tokens: int  # of what is embedded: context and text together
    text: str
    context: str = ""  # stands before the text when it is embedded, and is stored apart from it
    start: int = 0  # `text` is `document_text(document)[start:end]`, but for the header repeated over a split table
    end: int = 0
    part: str = ""
    language: str = ""
    file_hash: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def section_title(self) -> str:
        return self.heading_path[-1] if self.heading_path else ""

    @property
    def embedded_text(self) -> str:
        return embedded_text(self.context, self.text)


def embedded_text(context: str, text: str) -> str:
    """What the model is given of a chunk."""
    return f"{context}{BETWEEN_BLOCKS}{text}" if context else text


def document_text(document: Document) -> str:
    """The one text that a chunk's `start` and `end` count in: every block, an empty line between two of them."""
    return BETWEEN_BLOCKS.join(map(block_text, document.blocks))


def block_text(block: Block) -> str:
    """A block as it stands in `document_text`: as it is, but for a heading, which is on one line."""
    return " ".join(block.text.split()) if block.kind == "heading" else block.text


def chunk_key(document: Document, heading_path: tuple[str, ...], text: str, occurrence: int, context: str = "") -> str:
    """Primary key from content: 32 hex characters.

    `occurrence` tells apart equal texts under the same heading of one document (0 for the first). What is embedded
    includes the context, so that a chunk whose context changes is another chunk.
    """
    digest = hashlib.sha256()
    # Where there is neither context nor part, keys are what they were before either existed.
    extension = ("\x1f", context, document.part) if context or document.part else ()
    for item in (document.source, *heading_path, "\x1e", text, str(occurrence), *extension):
        encoded = item.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:32]
