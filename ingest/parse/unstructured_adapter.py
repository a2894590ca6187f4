"""The library `unstructured` as the parser, for those who know its elements (extra `unstructured`).

It sends telemetry unless the environment says otherwise before its import: run it in a `GuardedParser`. PDF is not
among its formats here: that needs models. What it takes for titles by wording alone is checked again, because it
judges that by English verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from itertools import groupby
from typing import Any

from ingest.metadata import split_front_matter
from ingest.parse.archives import DAMAGE, corrupt, opened
from ingest.parse.encoding import decode
from ingest.parse.headings import reads_like_heading
from ingest.parse.html import html_blocks, visible_html
from ingest.parse.parsed import Parsed, with_first_heading
from ingest.parse.reasons import unsupported
from ingest.records import Block
from ingest.settings import ParseSettings
from serve_app.core.errors import SetupError

_ENGLISH_MODEL = "en_core_web_sm"
_NO_LANGUAGE = ["zho"]  # any but English: it switches off the tests that need an English model
_DROPPED = {"Header", "Footer", "PageNumber", "PageBreak", "Image"}
_OFFICE = ("docx", "pptx", "xlsx")
_BELOW = ("eml", "xlsx")  # the subject or the sheet's name stands above every heading
_STATES_TITLES = ("docx", "html", "md")  # formats with headings of their own
_INPUTS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    **dict.fromkeys(_OFFICE, lambda content: {"file": opened(content)}),
    **dict.fromkeys(("csv", "tsv"), lambda content: {"file": BytesIO(decode(content).encode())}),
    "eml": lambda content: {"file": BytesIO(content), "process_attachments": False},
    "html": lambda content: {"text": visible_html(content)},
    "md": lambda content: {"text": split_front_matter(decode(content))[1]},
    "txt": lambda content: {"text": decode(content)},
}
_MODULES = {"eml": "email", "txt": "text"}


def read(content: bytes, format_: str, settings: ParseSettings) -> Parsed:  # noqa: ARG001
    """Raises DocumentError (corrupt, encrypted, too_large, zip_bomb, unsupported) and SetupError without the extra."""
    if format_ not in _INPUTS:
        raise unsupported("unstructured", format_, _INPUTS)
    module = _MODULES.get(format_, format_)
    partition = getattr(_imported(f"unstructured.partition.{module}"), f"partition_{module}")
    try:
        elements = partition(**_INPUTS[format_](content), languages=_NO_LANGUAGE)
    except DAMAGE as error:
        raise corrupt() from error
    blocks = [*_subject(elements), *_blocks(elements, format_)]
    return Parsed(None, tuple(blocks)) if format_ == "xlsx" else with_first_heading(blocks)


def _imported(name: str) -> Any:
    try:
        tokenize = import_module("unstructured.nlp.tokenize")
        import spacy

        module = import_module(name)
    except ImportError as error:
        raise SetupError(
            f"The parser unstructured needs {error.name}: pip install 'embed-cluster[unstructured]'."
        ) from error
    if not spacy.util.is_package(_ENGLISH_MODEL):
        tokenize._get_nlp = _sentences_only  # type: ignore[attr-defined]  # its own one downloads the model
    return module


@lru_cache(maxsize=1)  # as the function it stands in for: it is called for every paragraph
def _sentences_only() -> Any:
    import spacy

    pipeline = spacy.blank("xx")
    pipeline.add_pipe("sentencizer")
    return pipeline


def _subject(elements: Sequence[Any]) -> list[Block]:
    """Of a mail; the library keeps it beside the text."""
    subject = elements[0].metadata.subject if elements else None
    return [Block("heading", " ".join(subject.split()), 1)] if subject else []


def _blocks(elements: Sequence[Any], format_: str) -> Iterator[Block]:
    """Items of one list become one block, as everywhere else."""
    for is_item, group in groupby(elements, key=lambda element: element.category == "ListItem"):
        if is_item:
            items = list(group)
            yield Block("text", "\n".join(f"- {item.text}" for item in items), page=items[0].metadata.page_number)
        else:
            for sheet, part in groupby(group, key=lambda element: element.metadata.page_name):
                if sheet:
                    yield Block("heading", sheet, 1)
                for element in part:
                    yield from _element_blocks(element, format_)


def _element_blocks(element: Any, format_: str) -> Iterator[Block]:
    text, depth = element.text.strip(), (element.metadata.category_depth or 0) + (format_ in _BELOW)
    page = None if format_ == "xlsx" else element.metadata.page_number  # its sheets are no pages
    if element.category in _DROPPED or not text:
        return
    if element.category == "Table" and element.metadata.text_as_html:
        for block in html_blocks(element.metadata.text_as_html):
            yield Block(block.kind, block.text, block.level, page)
    elif element.category == "Title" and _is_heading(text, format_, depth):
        yield Block("heading", " ".join(text.split()), depth + 1, page)
    else:
        yield Block("code" if element.category == "CodeSnippet" else "text", text, page=page)


def _is_heading(text: str, format_: str, depth: int) -> bool:
    if format_ == "pptx":
        return depth == 0  # the slide's title; deeper ones are texts that are short
    return format_ in _STATES_TITLES or reads_like_heading(text)
