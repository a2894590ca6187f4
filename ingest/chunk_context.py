"""What stands before a chunk when it is embedded: where it is in its document, as `title > heading > heading`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingest.packing import TokenCounts, utf8_bytes

MAX_CONTEXT_TOKENS = 64
MAX_CONTEXT_BYTES = 2_000  # UTF-8; a word that the vocabulary lacks may be one token of any length
_BETWEEN = " > "
_LEFT_OUT = "…"
_Path = tuple[str, ...]


def contexts(title: str, paths: Iterable[_Path], counts: TokenCounts, limit: int) -> dict[_Path, str]:
    """The context of every path, of at most `limit` tokens without special ones and MAX_CONTEXT_BYTES.

    Where it is too long, headings in the middle are left out first, then the title, then the innermost heading is
    cut. It is empty where there is nothing to say, or no room to say it.
    """
    whole = {path: _BETWEEN.join(_names(title, path)) for path in paths}
    counts.learn(whole.values())
    shorter = {
        path: list(_shortened(_names(title, path))) for path, text in whole.items() if not _fits(text, counts, limit)
    }
    counts.learn(text for candidates in shorter.values() for text in candidates)
    return {
        path: next((candidate for candidate in shorter.get(path, [text]) if _fits(candidate, counts, limit)), "")
        for path, text in whole.items()
    }


def _names(title: str, path: _Path) -> list[str]:
    """The title is often the outermost heading too; it is said once."""
    first = " ".join(title.split())
    return [name for name in ([] if path[:1] == (first,) else [first]) + list(path) if name]


def _fits(text: str, counts: TokenCounts, limit: int) -> bool:
    return counts.net(text) <= limit and utf8_bytes(text) <= MAX_CONTEXT_BYTES


def _shortened(names: list[str]) -> Iterator[str]:
    """Ever shorter contexts."""
    for inner in range(2, len(names)):
        yield _BETWEEN.join((names[0], _LEFT_OUT, *names[inner:]))
    innermost = names[-1]
    if len(names) > 1:
        yield _BETWEEN.join((_LEFT_OUT, innermost))
    length = len(innermost) // 2
    while length:
        yield innermost[:length].rstrip() + _LEFT_OUT
        length //= 2
