"""How fast a model's replicas work, as seen by one Router: what turns waiting tokens into waiting time."""

from __future__ import annotations

from math import exp

WINDOW_S = 5.0  # what landed so long ago counts 1/e of what lands now
ENOUGH_S = 0.25  # less busy time than this is an anecdote
ENOUGH_TOKENS = 1.0  # fewer: every slice of the last half minute failed, which says nothing about speed


class TokenRate:
    """Tokens a second while there was more to do than room for it.

    Only busy time counts: tokens over the time of a quiet hour would tell how little was asked, not how much can be
    done. Until enough busy time was seen, what the replicas say of themselves stands in; before that, there is no rate.
    What comes back is in any case what can be done at least. Without that bound, a rate that was once measured far too
    low would turn requests away, keep the queue too short to be busy, and so never be corrected.
    """

    def __init__(self) -> None:
        self._tokens = 0.0
        self._busy_s = 0.0
        self._busy_since: float | None = None
        self._reported = 0.0
        self._landed_tokens = 0.0  # busy or not
        self._landed_at = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Above zero; None until something is known."""
        least = self._landed_tokens / WINDOW_S
        if self._busy_s >= ENOUGH_S and self._tokens >= ENOUGH_TOKENS:
            return max(self._tokens / self._busy_s, least)
        return max(self._reported, least) if self._reported else None

    def landed(self, tokens: int, now: float, is_busy: bool) -> None:
        """A slice came back at `now` (seconds on any steady clock); `is_busy` when enough waits to fill its place."""
        self._landed_tokens = self._landed_tokens * exp(-max(0.0, now - self._landed_at) / WINDOW_S) + tokens
        self._landed_at = now
        if self._busy_since is not None:
            elapsed = max(0.0, now - self._busy_since)
            kept = exp(-elapsed / WINDOW_S)
            self._tokens = self._tokens * kept + tokens
            self._busy_s = self._busy_s * kept + elapsed
        self._busy_since = now if is_busy else None

    def reported(self, tokens_per_s: float) -> None:
        """What all replicas together did lately by their own account; 0 means that they do not know."""
        if tokens_per_s > 0.0:
            self._reported = tokens_per_s
