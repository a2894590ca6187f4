"""The library `docling` as the parser (extra `docling`), for the formats that it reads without model weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from io import BytesIO
from itertools import groupby
from typing import Any

from ingest.metadata import split_front_matter
from ingest.parse.archives import DAMAGE, corrupt, opened
from ingest.parse.encoding import decode
from ingest.parse.html import visible_html
from ingest.parse.parsed import Parsed, with_first_heading
from ingest.parse.reasons import unsupported
from ingest.parse.tables import table_blocks
from ingest.records import Block
from ingest.settings import ParseSettings
from serve_app.core.errors import SetupError

_UTF8_MARK = b"\xef\xbb\xbf"  # outweighs what a page declares
_INPUTS: dict[str, Callable[[bytes], BytesIO]] = {
    **dict.fromkeys(("docx", "pptx", "xlsx"), opened),
    "csv": lambda content: BytesIO(decode(content).encode()),
    "html": lambda content: BytesIO(_UTF8_MARK + visible_html(content).encode()),
    "md": lambda content: BytesIO(split_front_matter(decode(content))[1].encode()),
}


def read(content: bytes, format_: str, settings: ParseSettings) -> Parsed:  # noqa: ARG001
    """Raises DocumentError (corrupt, encrypted, too_large, zip_bomb, unsupported) and SetupError without the extra."""
    if format_ not in _INPUTS:
        raise unsupported("docling", format_, _INPUTS)
    try:
        models = import_module("docling.datamodel.base_models")
        converters = import_module("docling.document_converter")
        failure: type[Exception] = import_module("docling.exceptions").ConversionError
    except ImportError as error:
        raise SetupError(f"The parser docling needs {error.name}: pip install 'embed-cluster[docling]'.") from error
    logging.getLogger("docling").setLevel(logging.CRITICAL)  # its errors quote the file
    stream = models.DocumentStream(name=f"file.{format_}", stream=_INPUTS[format_](content))
    try:
        converter = converters.DocumentConverter(allowed_formats=[models.InputFormat(format_)])
        blocks = list(_blocks(converter.convert(stream).document))
    except (failure, *DAMAGE) as error:
        raise corrupt() from error
    if format_ == "xlsx":  # sheets are no pages, and no titles
        return Parsed(None, tuple(replace(block, page=None) for block in blocks))
    return with_first_heading(blocks)


def _blocks(document: Any) -> Iterator[Block]:
    """Items of one list become one block, as everywhere else."""
    items = [item for item, _ in document.iterate_items(with_groups=True)]
    below_title = any(_kind(item) == "title" for item in items)
    for is_item, group in groupby(items, key=lambda item: _kind(item) == "list_item"):
        if is_item:
            listed = list(group)
            text = "\n".join(f"{item.marker if item.enumerated else '-'} {item.text}" for item in listed)
            yield Block("text", text, page=_page(listed[0]))
        else:
            for item in group:
                yield from _item_blocks(item, below_title)


def _item_blocks(item: Any, below_title: bool) -> Iterator[Block]:
    kind, text = _kind(item), (getattr(item, "text", "") or "").strip()
    if kind == "table":
        yield from table_blocks([[cell.text for cell in row] for row in item.data.grid], _page(item))
    elif kind == "sheet":
        yield Block("heading", item.name, 1, _page(item))
    elif not text:
        return
    elif kind == "title":
        yield Block("heading", text, 1, _page(item))
    elif kind == "section_header":
        yield Block("heading", text, item.level + below_title, _page(item))
    else:
        yield Block("code" if kind == "code" else "text", text, page=_page(item))


def _kind(item: Any) -> str:
    return str(item.label.value)


def _page(item: Any) -> int | None:
    places = getattr(item, "prov", None)
    return places[0].page_no if places else None
