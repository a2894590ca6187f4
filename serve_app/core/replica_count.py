"""How many replicas of a model one sender has: those whose answers it sees."""

from __future__ import annotations

WINDOW_S = 10.0  # under load every replica answers every sender within this, or is gone
QUIET_S = 1.0  # a pause between two slices counts as no more of the window
LOOK_S = 0.5  # how often it is worth looking for those that are gone


class ReplicaCount:
    """`known` follows the answers between two bounds; with equal bounds it is fixed and costs nothing.

    A replica counts from its first answer until the others have worked for WINDOW_S, and as long again as it took to
    answer, without one from it. Work is what is measured, because a sender with nothing to send learns nothing: after a
    quiet night it still counts those it knew in the evening, rather than refusing the first burst.

    Replicas that start are found without slices sent on suspicion. Serve offers every slice to two replicas at random
    and takes the idler one, so a new replica, which is idle, gets one of the next few.
    """

    def __init__(self, least: int, most: int) -> None:
        """At least one each, `least` not above `most`."""
        self.known = least
        self._least = least
        self._most = most
        self._worked_s = 0.0
        self._last_answer = 0.0
        self._looked_at = 0.0  # on the clock of `_worked_s`
        self._counts_until: dict[str, float] = {}  # replica -> on the clock of `_worked_s`

    @property
    def is_fixed(self) -> bool:
        return self._least == self._most

    def answered(self, replica: str, sent_at: float, now: float) -> bool:
        """A slice sent at `sent_at` came back at `now` (seconds on one steady clock). Whether `known` is another."""
        if self.is_fixed:
            return False
        if not self._counts_until:
            self._last_answer = sent_at
        pause_s = max(0.0, sent_at - self._last_answer - QUIET_S)
        self._worked_s += max(0.0, now - self._last_answer - pause_s)
        self._last_answer = now
        is_known = replica in self._counts_until
        self._counts_until[replica] = self._worked_s + WINDOW_S + (now - sent_at)
        return (not is_known or self._worked_s >= self._looked_at + LOOK_S) and self._recount()

    def _recount(self) -> bool:
        self._looked_at = self._worked_s
        for gone in [name for name, until in self._counts_until.items() if until <= self._worked_s]:
            del self._counts_until[gone]
        before = self.known
        self.known = min(self._most, max(self._least, len(self._counts_until)))
        return self.known != before
