"""Words for PostgreSQL's full text: its own parser takes a Chinese sentence for one word, so jieba splits the text."""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from serve_app.core.errors import SetupError

MAX_WORD_BYTES = 1_024  # PostgreSQL refuses a lexeme of 2 KiB
MAX_POSITION = 16_383  # of a word in a tsvector; later ones all stand there
MAX_POSITIONS = 255  # of one word
MAX_QUERY_WORDS = 64


class WordSplitter:
    """Loads jieba's dictionary, which takes about a second, when the first text comes."""

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
        for word in self._cut(text.lower()):
            if any(map(str.isalnum, word)) and len(word.encode("utf-8", "replace")) <= MAX_WORD_BYTES:
                yield word

    @cached_property
    def _cut(self) -> Callable[[str], Iterable[str]]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it uses an interface of setuptools that is going away
                import jieba  # type: ignore[import-untyped]
        except ImportError as error:
            raise SetupError("Full text in PostgreSQL needs jieba: pip install 'embed-cluster[postgres]'.") from error
        jieba.setLogLevel(logging.WARNING)
        cut: Callable[[str], Iterable[str]] = jieba.Tokenizer().cut_for_search
        return cut


def quoted(word: str) -> str:
    """A word as a quoted lexeme, whatever characters it has."""
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
