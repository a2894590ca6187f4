"""Whether a request may wait: refused at the door with an honest time, rather than late and after work was wasted."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core.errors import Overloaded

LEAST_RETRY_S = 1.0  # `Retry-After` has whole seconds


@dataclass(frozen=True, slots=True)
class Load:
    """What a request of one class finds in front of it, in tokens."""

    queued: int  # of its class
    queued_first: int  # of classes that leave first
    next_in_turn: int  # of its class, as much as leaves before the request's last text does
    under_way: int  # sent and not back
    tokens_per_s: float | None  # None: not known yet


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits of one class of one model."""

    max_queued_tokens: int
    max_wait_s: float

    def check(self, load: Load, tokens: int, timeout_s: float) -> None:
        """Raises Overloaded. A request that finds nobody of its class waiting is always let in, whatever its size."""
        if not load.queued:
            return
        self._check_room(load, tokens)
        if load.tokens_per_s is not None:
            self._check_wait(load, load.tokens_per_s, timeout_s)

    def _check_room(self, load: Load, tokens: int) -> None:
        waiting = load.queued + load.queued_first
        excess = waiting + tokens - self.max_queued_tokens
        if excess > 0:
            raise Overloaded(
                f"{waiting} tokens are waiting, this request has {tokens}, and the limit is {self.max_queued_tokens}: "
                "try again later.",
                retry_after_s=max(LEAST_RETRY_S, excess / load.tokens_per_s) if load.tokens_per_s else LEAST_RETRY_S,
            )

    def _check_wait(self, load: Load, tokens_per_s: float, timeout_s: float) -> None:
        wait_s = (load.queued_first + load.next_in_turn + load.under_way) / tokens_per_s
        limit_s = min(self.max_wait_s, timeout_s)
        if wait_s > limit_s:
            raise Overloaded(
                f"This request would wait about {wait_s:.0f} s, and the limit is {limit_s:g} s: try again later.",
                retry_after_s=max(LEAST_RETRY_S, wait_s - limit_s),
            )
