"""Which of several overlapping findings counts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` is a value of the entity, as surely as the score says (0 to 1)."""

    entity: str
    start: int
    end: int
    score: float


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """Disjoint findings in the order of the text: the surer ones, and of equally sure ones the longer."""
    kept: list[Finding] = []  # in order, disjoint
    starts: list[int] = []
    for finding in sorted(findings, key=lambda one: (-one.score, one.start - one.end, one.start, one.entity)):
        place = bisect_left(starts, finding.start)
        touches_next = place < len(kept) and kept[place].start < finding.end
        touches_previous = place > 0 and kept[place - 1].end > finding.start
        if not touches_next and not touches_previous:
            kept.insert(place, finding)
            starts.insert(place, finding.start)
    return kept
