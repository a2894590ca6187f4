"""HTML: what a reader of the page sees as its content, without navigation and page furniture."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector
from bs4.element import NavigableString, PageElement, PreformattedString

from ingest.parse.encoding import decode
from ingest.parse.parsed import Parsed, join_chinese_lines, with_first_heading
from ingest.parse.tables import MAX_SPAN, table_blocks
from ingest.records import Block, BlockKind

_DROPPED = {"nav", "head", "button", "select", "input", "textarea"}
_DROPPED_ROLES = {"navigation", "search", "banner", "contentinfo"}  # ARIA's landmarks around the content
# Of generators that name no role: DocBook's bars and contents, and the ¶ behind each heading of Sphinx and MkDocs.
_DROPPED_CLASSES = {"navheader", "navfooter", "toc", "list-of-tables", "list-of-figures", "headerlink"}
_UNSEEN = {"script", "style", "template", "noscript", "iframe", "object", "svg", "canvas"}
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_PAGE_FURNITURE = {"header", "footer"}
_OWN_CONTENT = ["article", "main", "section"]  # a header or footer in one of these belongs to the text
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label"),
    *("mark", "q", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var"),
    "wbr",
}
_LISTS = {"ul", "ol"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_EMPTY = "\0"
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def read(content: bytes) -> Parsed:
    soup = _soup(_decoded(content))
    parsed = with_first_heading(_Reader().blocks(soup))
    if parsed.title is None and soup.title is not None:
        return Parsed(_one_line(soup.title.get_text()) or None, parsed.blocks)
    return parsed


def visible_html(content: bytes) -> str:
    """The page as HTML again, without what no reader sees."""
    return str(_soup(_decoded(content)))


def html_blocks(fragment: str) -> list[Block]:
    """The blocks of a piece of HTML inside another format."""
    return _Reader().blocks(_soup(fragment))


def _decoded(content: bytes) -> str:
    """The page as text, in the encoding that it declares if that one fits."""
    declared = EncodingDetector.find_declared_encoding(content, is_html=True)
    if declared is None or declared.lower().startswith("utf") or content.startswith(codecs.BOM_UTF8):
        return decode(content)
    encoding = "gb18030" if declared.lower() in ("gb2312", "gbk") else declared  # browsers read them as one
    try:
        return content.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return decode(content)


def _soup(text: str) -> BeautifulSoup:
    """The page without navigation and what no reader sees: also inside headings and tables, which are taken whole."""
    soup = BeautifulSoup(_XML_DECLARATION.sub("", text), "lxml")
    for tag in soup.find_all(lambda tag: _is_hidden(tag) or _is_navigation(tag)):
        tag.extract()
    return soup


def _is_hidden(tag: Tag) -> bool:
    if tag.name == "title":
        return False
    return tag.name in _UNSEEN or tag.has_attr("hidden") or _HIDING.search(str(tag.get("style", ""))) is not None


def _is_navigation(tag: Tag) -> bool:
    """By its own word. Links of it also stand inside headings, which are taken whole."""
    if tag.name in ("html", "body"):
        return False
    roles, classes = str(tag.get("role", "")).lower().split(), tag.get_attribute_list("class")
    return not (_DROPPED_ROLES.isdisjoint(roles) and _DROPPED_CLASSES.isdisjoint(classes))


@dataclass(slots=True)
class _Reader:
    """Walks the tree in reading order; text gathers until a block-level element begins or ends.

    The walk keeps its own stack: pages nest more deeply than Python functions may.
    """

    out: list[Block] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  # of the running paragraph
    items: list[str] = field(default_factory=list)  # lines of the running list
    markers: list[int] = field(default_factory=list)  # one an open list: the next number, or 0 for a bullet
    marker: str = ""  # still to be written before the item's first line

    def blocks(self, root: Tag) -> list[Block]:
        walks = [iter(root.children)]
        entered: list[Tag] = []
        while walks:
            child = next(walks[-1], None)
            if child is None:
                walks.pop()
                if entered:
                    self._leave(entered.pop().name)
            elif isinstance(child, Tag):
                if self._enters(child):
                    walks.append(iter(child.children))
                    entered.append(child)
            elif _is_text(child):
                self.parts.append(re.sub(r"\s+", " ", join_chinese_lines(str(child))))
        self._flush()
        return self.out

    def _enters(self, tag: Tag) -> bool:
        """Take in an element, or say that its children are to be walked."""
        name = tag.name
        if _is_dropped(tag):
            return False
        if name == "br":
            self.parts.append("\n")
        elif name in _HEADINGS:
            self._emit("heading", _one_line(tag.get_text()), _HEADINGS[name])
        elif name == "pre":
            self._emit("code", tag.get_text().strip("\n").rstrip())
        elif name == "table" and not _is_layout(tag):
            self._table(tag)
        else:
            self._begin(tag)
            return True
        return False

    def _begin(self, tag: Tag) -> None:
        if tag.name in _INLINE:
            return
        self._end_paragraph()
        if tag.name in _LISTS:
            self.markers.append(1 if tag.name == "ol" else 0)
        elif tag.name == "li" and self.markers:
            number = self.markers[-1]
            self.marker = "  " * (len(self.markers) - 1) + (f"{number}. " if number else "- ")
            self.markers[-1] += 1 if number else 0

    def _leave(self, name: str) -> None:
        if name not in _INLINE:
            self._end_paragraph()
        if name in _LISTS:
            self.markers.pop()
            if not self.markers:
                self._flush()

    def _end_paragraph(self) -> None:
        """Inside a list the paragraph becomes a line of the list, which stays one block."""
        lines = (" ".join(line.split()) for line in "".join(self.parts).split("\n"))
        text = "\n".join(line for line in lines if line)
        self.parts = []
        if text and self.markers:
            self.items.append(f"{self.marker}{text}")
            self.marker = ""
        elif text:
            self.out.append(Block("text", text))

    def _flush(self) -> None:
        self._end_paragraph()
        if self.items:
            self.out.append(Block("text", "\n".join(self.items)))
            self.items = []

    def _emit(self, kind: BlockKind, text: str, level: int = 0) -> None:
        self._flush()
        if text:
            self.out.append(Block(kind, text, level))

    def _table(self, table: Tag) -> None:
        self._flush()
        if table.caption is not None:
            self._emit("text", _one_line(table.caption.get_text()))
        self.out.extend(table_blocks(_grid(table.find_all("tr"))))


def _is_text(node: PageElement) -> bool:
    return isinstance(node, NavigableString) and not isinstance(node, PreformattedString)  # those are comments etc.


def _is_dropped(tag: Tag) -> bool:
    if tag.name in _PAGE_FURNITURE:
        return tag.find_parent(_OWN_CONTENT) is None
    return tag.name in _DROPPED


def _is_layout(table: Tag) -> bool:
    return table.find(["table", "pre", *_HEADINGS]) is not None or len(table.find_all("tr", limit=2)) < 2


def _grid(rows: list[Tag]) -> list[list[str]]:
    """Cell texts; a cell that spans rows or columns is repeated, so that every row can be read alone."""
    grid: list[list[str]] = [[] for _ in rows]
    for number, row in enumerate(rows):
        column = 0
        for cell in row.find_all(["td", "th"], recursive=False):
            while column < len(grid[number]) and grid[number][column] != _EMPTY:
                column += 1
            end = column + _span(cell, "colspan")
            text = _one_line(cell.get_text(" "))
            for line in grid[number : number + _span(cell, "rowspan")]:
                line.extend(_EMPTY * (end - len(line)))
                line[column:end] = [text] * (end - column)
    return [[cell.replace(_EMPTY, "") for cell in row] for row in grid]


def _span(cell: Tag, attribute: str) -> int:
    value = str(cell.get(attribute, "1")).strip()
    return min(max(int(value), 1), MAX_SPAN) if value.isdecimal() else 1


def _one_line(text: str) -> str:
    return " ".join(join_chinese_lines(text).split())
