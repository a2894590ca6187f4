"""Split a run of texts into slices that keep their order and respect a token and a row budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def pack(lengths: Sequence[int], max_tokens: int, max_texts: int) -> Iterator[range]:
    """Consecutive index ranges that together cover every text once, in order.

    A range holds at most `max_texts` texts and at most `max_tokens` tokens; a single text longer than the
    budget gets a range of its own.
    """
    start, tokens = 0, 0
    for index, length in enumerate(lengths):
        if index > start and (tokens + length > max_tokens or index - start >= max_texts):
            yield range(start, index)
            start, tokens = index, 0
        tokens += length
    if start < len(lengths):
        yield range(start, len(lengths))
