"""How many tokens an engine with one limit a step may compute, so that a step keeps its bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority


class StepBudget:
    """Knows the texts in the engine. `can_pause` says whether the engine computes long texts in pieces."""

    def __init__(self, step_tokens: int, *, can_pause: bool) -> None:
        self._step_tokens = step_tokens
        self._can_pause = can_pause
        self._held: dict[Priority, dict[int, int]] = {priority: {} for priority in Priority}  # key → length
        self._bulk_tokens = 0

    def add(self, key: int, tokens: int, priority: Priority) -> None:
        self._held[priority][key] = tokens
        self._bulk_tokens += tokens if priority is Priority.BULK else 0

    def remove(self, keys: Iterable[int]) -> int:
        """How many tokens the texts under these keys have; unknown keys are fine."""
        interactive = bulk = 0
        for key in keys:
            interactive += self._held[Priority.INTERACTIVE].pop(key, 0)
            bulk += self._held[Priority.BULK].pop(key, 0)
        self._bulk_tokens -= bulk
        return interactive + bulk

    def of_step(self, bounds: StepBounds, begun: Mapping[int, int]) -> int:
        """At least 1. `begun` are the texts that are partly computed: key → tokens that are done."""
        longest = bounds.text_tokens if self._can_pause else self._step_tokens
        interactive = sum(
            min(length - begun.get(key, 0), longest) for key, length in self._held[Priority.INTERACTIVE].items()
        )
        bulk = self._held[Priority.BULK]
        lengths = {key: bulk[key] for key in begun if key in bulk}
        going_on = sum(min(length - begun[key], longest) for key, length in lengths.items())
        room = max(0, self._room_for_bulk(bounds) - going_on)
        tokens = interactive + going_on + min(self._bulk_tokens - sum(lengths.values()), room)
        return max(1, min(self._step_tokens, tokens))

    def _room_for_bulk(self, bounds: StepBounds) -> int:
        if self._can_pause or bounds.bulk_gives_way:
            return bounds.bulk_tokens
        # The next text must fit whole, or it would never begin.
        return max(bounds.bulk_tokens, next(iter(self._held[Priority.BULK].values()), 0))
