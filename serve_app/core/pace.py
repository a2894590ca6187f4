"""How many tokens an engine computes in a given time, so that steps can be as long as somebody may have to wait."""

from __future__ import annotations

NEWEST = 0.2  # weight of the newest step in the mean


class Pace:
    """Tokens a second of steps with at least `least_tokens`, and how long smaller ones take.

    On any hardware a step has a shortest time, for reading the weights and for what happens once a step.
    """

    def __init__(self, least_tokens: int) -> None:
        self._least_tokens = least_tokens
        self._tokens_per_s = 0.0  # until a step was large enough
        self._short_s = 0.0  # until one was not

    def saw(self, tokens: int, seconds: float) -> None:
        """One step of so many tokens took so long."""
        if seconds <= 0.0:
            return
        if tokens < self._least_tokens:
            self._short_s = _blend(self._short_s, seconds)
        else:
            self._tokens_per_s = _blend(self._tokens_per_s, tokens / seconds)

    def tokens_in(self, seconds: float, most: int) -> int:
        """What a step of this length computes, or of twice a small step's: less would cost more than it gives.

        From the least that is worth a step to `most`, which is also the answer until the pace is known.
        """
        if not self._tokens_per_s:
            return most
        wanted = max(seconds, 2 * self._short_s) * self._tokens_per_s
        return int(min(most, max(self._least_tokens, wanted)))


def _blend(mean: float, newest: float) -> float:
    return mean + NEWEST * (newest - mean) if mean else newest
