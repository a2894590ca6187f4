"""Where text may be cut: at sentence ends first, then between clauses and words, then anywhere.

Every function gives pieces that put together are the text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Newlines stay with the sentence they end and spaces go to the one they begin, as byte-pair tokenizers group them.
_SENTENCE_END = re.compile(
    r"""(?P<marker>^[ \t]*(?:\d{1,3}|[A-Za-z])\.(?=\s))    # of a list item: not the end of anything
      | [。！？；…]+[”’」』）)】》"']*\n*
      | [.!?;]+["')\]”’]*(?=\s)\n*
      | \n+""",
    re.MULTILINE | re.VERBOSE,
)
_CLAUSE_ENDS = "，、：,: \t\n"


def sentences(text: str) -> list[str]:
    """Sentences and lines of Chinese or Western text."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match["marker"] is None]
    return [part for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if (part := text[start:end])]


def cut(text: str, length: int) -> Iterator[str]:
    """Parts of at most `length` characters, each as long as the seams in its second half allow."""
    start = 0
    while len(text) - start > length:
        middle = start + length // 2
        seam = max(text.rfind(mark, middle, start + length) for mark in _CLAUSE_ENDS)
        end = seam + 1 if seam >= middle else start + length
        yield text[start:end]
        start = end
    yield text[start:]


def table_parts(table: str) -> tuple[str, list[str]]:
    """The header of a Markdown table (with its line of dashes, if it has one), and the rows, all with line ends."""
    lines = table.splitlines(keepends=True)
    header = 2 if len(lines) > 1 and not lines[1].strip(" |:-\n") else 1
    return "".join(lines[:header]), lines[header:]
