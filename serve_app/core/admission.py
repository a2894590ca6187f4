"""Whether a request may wait: refused at the door with an honest time, rather than late and after work was wasted."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core.errors import Overloaded

LEAST_RETRY_S = 1.0  # `Retry-After` has whole seconds
FAIR_SHARE = 4  # a request counts as at most one in so many of the tokens that may wait


@dataclass(frozen=True, slots=True)
class Load:
    """What a request of one class finds in front of it, in tokens."""

    queued: int  # of its class
    queued_first: int  # of classes that leave first
    next_in_turn: int  # of its class, as much as leaves before the request's last text does
    under_way: int  # sent and not back
    occupied: int  # of the limit, by its class and those that leave first: each request at most its fair part
    tokens_per_s: float | None  # above zero; None: not known yet

    @property
    def retry_after_s(self) -> float:
        """Seconds until everything that is here now has been computed, as far as one can tell."""
        if self.tokens_per_s is None:
            return LEAST_RETRY_S
        return max(LEAST_RETRY_S, (self.queued + self.queued_first + self.under_way) / self.tokens_per_s)


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits of one class of one model.

    A request counts at most `fair_part`, so the largest one gets in like others and leaves room for them; what waits
    is bounded all the same, because only FAIR_SHARE such requests fit.
    """

    max_queued_tokens: int
    max_wait_s: float

    @property
    def fair_part(self) -> int:
        """Tokens, at least one."""
        return max(1, self.max_queued_tokens // FAIR_SHARE)

    def check(self, load: Load, tokens: int, timeout_s: float) -> None:
        """Raises Overloaded. A request that finds nobody of its class waiting is always let in, whatever its size."""
        if not load.queued:
            return
        self._check_room(load, tokens)
        if load.tokens_per_s is not None:
            self._check_wait(load, load.tokens_per_s, timeout_s)

    def _check_room(self, load: Load, tokens: int) -> None:
        counted = min(tokens, self.fair_part)
        if load.occupied + counted > self.max_queued_tokens:
            raise Overloaded(
                f"{load.occupied} tokens are waiting, this request adds {counted}, and the limit is "
                f"{self.max_queued_tokens} (a request counts at most {self.fair_part}): try again later.",
                retry_after_s=load.retry_after_s,
            )

    def _check_wait(self, load: Load, tokens_per_s: float, timeout_s: float) -> None:
        wait_s = (load.queued_first + load.next_in_turn + load.under_way) / tokens_per_s
        limit_s = min(self.max_wait_s, timeout_s)
        if wait_s > limit_s:
            raise Overloaded(
                f"This request would wait about {wait_s:.0f} s, and the limit is {limit_s:g} s: try again later.",
                retry_after_s=load.retry_after_s,
            )
