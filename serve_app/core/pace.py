"""How many tokens an engine computes in a given time, so that steps can be as long as somebody may have to wait."""

from __future__ import annotations

NEWEST = 0.2  # weight of the newest step in the mean


class Pace:
    """Tokens a second of steps with at least `least_tokens`.

    Smaller ones say little: on any hardware a step has a shortest time, which is that of reading the weights.
    """

    def __init__(self, least_tokens: int) -> None:
        self._least_tokens = least_tokens
        self._tokens_per_s = 0.0  # until a step was large enough

    def saw(self, tokens: int, seconds: float) -> None:
        """One step of so many tokens took so long."""
        if tokens < self._least_tokens or seconds <= 0.0:
            return
        rate = tokens / seconds
        self._tokens_per_s += NEWEST * (rate - self._tokens_per_s) if self._tokens_per_s else rate

    def tokens_in(self, seconds: float, most: int) -> int:
        """What a step of this length computes, from the least that is worth a step to `most`; unknown is `most`."""
        if not self._tokens_per_s:
            return most
        return min(most, max(self._least_tokens, int(seconds * self._tokens_per_s)))
