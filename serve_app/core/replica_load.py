"""What a replica tells about its load, in tokens: its own, and what waits for it at those who send it slices."""

from __future__ import annotations

from collections import deque

from serve_app.core.replica_count import WINDOW_S

DONE_WINDOW_S = 5.0
QUEUED_TOKENS = "queued_tokens"  # waiting here or being computed
BACKLOG_TOKENS = "backlog_tokens"  # this replica's part of what waits at senders
DONE_TOKENS_PER_S = "done_tokens_per_s"  # idle time included
SPEED_TOKENS_PER_S = "speed_tokens_per_s"  # while busy; 0.0 until known


class ReplicaLoad:
    """Not thread-safe. Times are seconds on one steady clock.

    A sender divides what waits at it by the replicas it knows, so the parts that all of them have heard of add up to it
    once. It counts a replica for as long as the replica remembers it.
    """

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, float]] = {}  # sender -> (tokens, when)
        self._done: deque[tuple[float, float]] = deque()  # (when, tokens ever done), oldest first

    def heard(self, sender: str, backlog_tokens: float, now: float) -> None:
        """A slice came from `sender`, where so many tokens wait for this replica's turn."""
        if sender not in self._heard:
            self._forget(now)  # so that the senders of a long life do not pile up
        self._heard[sender] = (backlog_tokens, now)

    def stats(self, queued_tokens: int, done_tokens: int, speed_tokens_per_s: float, now: float) -> dict[str, float]:
        """To be asked about once a second; `done_tokens` is a count that only grows."""
        self._forget(now)
        return {
            QUEUED_TOKENS: float(queued_tokens),
            BACKLOG_TOKENS: sum(tokens for tokens, _ in self._heard.values()),
            DONE_TOKENS_PER_S: self._done_per_s(done_tokens, now),
            SPEED_TOKENS_PER_S: speed_tokens_per_s,
        }

    def _done_per_s(self, done_tokens: int, now: float) -> float:
        """Over the last DONE_WINDOW_S, or since the first question."""
        self._done.append((now, float(done_tokens)))
        while len(self._done) > 2 and self._done[1][0] <= now - DONE_WINDOW_S:
            self._done.popleft()
        began, before = self._done[0]
        return (done_tokens - before) / (now - began) if now > began else 0.0

    def _forget(self, now: float) -> None:
        for sender in [name for name, (_, at) in self._heard.items() if now - at >= WINDOW_S]:
            del self._heard[sender]
