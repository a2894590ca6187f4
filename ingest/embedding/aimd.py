"""How many slices to keep under way: up by one while all goes well, down by half when the cluster is full."""

from __future__ import annotations


class AimdWindow:
    """Additive increase, multiplicative decrease, between 1 and `most`; it starts at `most`.

    What is sent belongs to the round it was sent in. Several refusals of one round tell the same thing once, so only
    the first of them halves the limit and begins a new round.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = most
        self._round = 0
        self._successes = 0

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def round(self) -> int:
        """To be kept with what is sent now, until its answer is there."""
        return self._round

    def succeeded(self) -> None:
        """As many successes as the limit make a window of them, which raises it by one."""
        self._successes += 1
        if self._successes >= self._limit:
            self._successes = 0
            self._limit = min(self._most, self._limit + 1)

    def refused(self, sent_in: int) -> None:
        """The cluster had no room for what was sent in that round."""
        if sent_in != self._round:
            return
        self._round += 1
        self._successes = 0
        self._limit = max(1, self._limit // 2)
