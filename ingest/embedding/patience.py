"""How long one slice waits for the cluster, and when it is tried again."""

from __future__ import annotations

import asyncio

from serve_app.core.errors import RequestError, SetupError

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Patience:
    """Of one slice. Being refused is a sign of life, so it may go on for ever; `timeout_s` bounds silence."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end: float | None = None  # on the event loop's clock
        self._waits = 0
        self.is_retry = False
        self.refusals = 0

    def begin(self) -> float:
        """Right before an attempt; the seconds it has."""
        self.is_retry = True
        now = asyncio.get_running_loop().time()
        if self._end is None:
            self._end = now + self._timeout_s
        return max(self._end - now, 0.0)

    def after_refusal(self, error: RequestError) -> float:
        """Seconds to wait; the time before the next attempt does not count."""
        self._end = None
        self.refusals += 1
        return self._wait_s(error)

    def after_failure(self, error: RequestError) -> float:
        """Seconds to wait. Raises SetupError if there is no time for another attempt."""
        wait_s = self._wait_s(error)
        if self._end is not None and asyncio.get_running_loop().time() + wait_s >= self._end:
            raise self.lost(error.message) from error
        return wait_s

    def lost(self, reason: str) -> SetupError:
        return SetupError(
            f"The cluster is gone: for {self._timeout_s:g} s (`ingest.slice_timeout_s`) no slice came back. {reason} "
            "Run it again when it is back: what is stored stays."
        )

    def _wait_s(self, error: RequestError) -> float:
        """As long as the cluster asks for, or twice as long every time."""
        self._waits += 1
        wait_s = error.retry_after_s or FIRST_WAIT_S * 2 ** min(self._waits - 1, 10)
        return min(wait_s, LONGEST_WAIT_S)
