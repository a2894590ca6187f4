"""The highest level of the last so many seconds, in a few numbers that survive JSON."""

from __future__ import annotations

from collections.abc import Sequence

PARTS = 20  # of the window: a level is forgotten too late by at most one of them


def with_level(parts: Sequence[list[float]], now: float, level: int, window_s: float) -> list[list[float]]:
    """`parts` with the level of this moment, and without those that ended more than `window_s` ago.

    A part is [when it began, when its last level was told, its highest level]. The oldest comes first; none at all is
    the beginning. Levels that come close together share a part, so that there are no more than PARTS and a few.
    """
    kept = [list(part) for part in parts if part[1] >= now - window_s]
    if kept and now - kept[-1][0] < window_s / PARTS:
        kept[-1][1:] = [now, max(kept[-1][2], level)]
        return kept
    return [*kept, [now, now, level]]


def highest(parts: Sequence[list[float]]) -> int:
    """Of the levels in `parts`; 0 without any."""
    return int(max((part[2] for part in parts), default=0))
