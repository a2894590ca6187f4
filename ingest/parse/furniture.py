"""Running headers, running footers, page numbers and watermarks: print that belongs to the page, not to the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ingest.parse.page import BodyStyle, Line, Page

_MARGIN = 0.15  # of the page's height, at its top and at its bottom
_MOST = 0.6  # of all pages
_NUMBER = re.compile(r"\d{1,5}")
_PAGE_NUMBER = re.compile(r"\W*(?:page|p|第)?\W*(\d+)\W*页?\W*(?:(?:of|共)?\W*\d+\W*页?)?\W*", re.IGNORECASE)


def is_furniture(pages: Sequence[Page]) -> Callable[[Page, Line], bool]:
    """A test for the lines that come back on other pages at the same edge, or faintly printed anywhere.

    Lines are compared as they stand, and with one number in them taken relative to the page's number: `Page 3 of 9`
    comes back, a row of figures does not, though they too differ only in their digits.
    """
    body = BodyStyle.of([line for page in pages for line in page.lines])
    seen = Counter(key for page in pages for key in {key for line in page.lines for key in _keys(page, line)})
    faint = Counter(text for page in pages for text in {line.text for line in page.lines if line.is_faint})
    few, most = 2 if len(pages) <= 3 else 3, max(3, _MOST * len(pages))

    def test(page: Page, line: Line) -> bool:
        # A large line has to come back nearly everywhere: slides may share a title.
        needed = most if body.is_smaller_than(line) else few
        if line.is_faint and faint[line.text] >= max(2, _MOST * len(pages)):
            return True
        return any(seen[key] >= needed for key in _keys(page, line)) or _is_page_number(page, line)

    return test


def _keys(page: Page, line: Line) -> Iterator[tuple[str, str]]:
    edge = _edge(page, line)
    if edge is None:
        return
    yield edge, line.text
    for match in _NUMBER.finditer(line.text):
        offset = int(match[0]) - page.number
        yield edge, f"{line.text[: match.start()]}\0{offset}\0{line.text[match.end() :]}"


def _edge(page: Page, line: Line) -> str | None:
    if line.top < _MARGIN * page.height:
        return "top"
    return "bottom" if line.top > (1 - _MARGIN) * page.height else None


def _is_page_number(page: Page, line: Line) -> bool:
    """For documents too short to repeat anything: the page's own number as its first or last line."""
    match = _PAGE_NUMBER.fullmatch(line.text)
    if match is None or int(match[1]) != page.number or _edge(page, line) is None:
        return False
    tops = [other.top for other in page.lines]
    return line.top in (min(tops), max(tops))
