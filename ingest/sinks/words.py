"""Words for PostgreSQL's full text: its own parser takes a Chinese sentence for one word, so jieba splits the text.

It is jieba's dictionary and method in Rust: in Python, splitting took longer than all other work of the write stage.
Section numbers and names with underscores it splits in its own way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property

from serve_app.core.errors import SetupError

MAX_WORD_BYTES = 1_024  # PostgreSQL refuses a lexeme of 2 KiB
MAX_POSITION = 16_383  # of a word in a tsvector; later ones all stand there
MAX_POSITIONS = 255  # of one word
MAX_QUERY_WORDS = 64


class WordSplitter:
    """Loads the dictionary when the first text comes."""

    def tsvector(self, text: str) -> str:
        """The words with their positions in PostgreSQL's notation: `'租金':1,4 '支付':2`."""
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, word in enumerate(self._words(text), start=1):
            if len(positions[word]) < MAX_POSITIONS and position <= MAX_POSITION:
                positions[word].append(position)
        return " ".join(
            f"{quoted(word)}:{','.join(map(str, places or [MAX_POSITION]))}" for word, places in positions.items()
        )

    def lexemes(self, text: str) -> list[str]:
        """The distinct words of a question, at most `MAX_QUERY_WORDS`, each quoted as a tsquery of its own."""
        return [quoted(word) for word in dict.fromkeys(self._words(text))][:MAX_QUERY_WORDS]

    def _words(self, text: str) -> Iterator[str]:
        for word in self._cut(text.lower().encode("utf-8", "replace").decode()):
            if any(map(str.isalnum, word)) and len(word.encode("utf-8", "replace")) <= MAX_WORD_BYTES:
                yield word

    @cached_property
    def _cut(self) -> Callable[[str], list[str]]:
        try:
            from rjieba import cut_for_search
        except ImportError as error:
            raise SetupError("Full text in PostgreSQL needs rjieba: pip install 'embed-cluster[postgres]'.") from error
        return cut_for_search


def quoted(word: str) -> str:
    """A word as a quoted lexeme, whatever characters it has."""
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
