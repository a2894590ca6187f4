"""How many slices may be sent a second time, so that a retry never becomes the load that keeps a cluster down."""

from __future__ import annotations


class RetryBudget:
    """Every slice sent earns a tenth of a retry; at most ten are saved up, and a new budget starts with ten."""

    EARNED = 0.1
    CAP = 10.0

    def __init__(self) -> None:
        self._saved = self.CAP

    def earn(self) -> None:
        """A slice was sent for the first time."""
        self._saved = min(self.CAP, self._saved + self.EARNED)

    def spend(self) -> bool:
        """Whether a retry is allowed now; if so, it is paid for."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
