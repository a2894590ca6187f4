"""How many of a CPU's cores one step of the engine uses."""

from __future__ import annotations

from collections.abc import Callable

SMALL_STEP_FLOPS = 5e9  # in less, waking and joining threads costs about what they gain: docs/LOG.md, 2026-11-22
FEWEST_TOKENS = 64  # a step of fewer reads the same weights, and a model outgrows the caches long before this matters


class StepThreads:
    """Small steps get one thread, which leaves the other cores to the Router; all others get `most`.

    `set_threads` is torch's; it is called from the engine's thread, and only when the number changes.
    """

    def __init__(self, set_threads: Callable[[int], None], most: int, flops_per_token: float) -> None:
        self._set_threads = set_threads
        self._most = most
        self._flops_per_token = flops_per_token
        self._now = most

    def fit(self, tokens: int) -> None:
        """For a step of so many tokens."""
        work = self._flops_per_token * max(tokens, FEWEST_TOKENS)
        wanted = 1 if work < SMALL_STEP_FLOPS else self._most
        if wanted != self._now:
            self._now = wanted
            self._set_threads(wanted)
