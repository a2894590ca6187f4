"""Waiting texts of one class. Requests take turns, so that a long one does not keep a short one waiting to its end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from serve_app.core.types import TokenIds

TURN_TOKENS = 512  # so short that 16 requests share a slice of the default size
TURN_TEXTS = 32


@dataclass(slots=True, eq=False)
class Queued:
    """The texts of one request. Rows before `sent` have left."""

    texts: list[TokenIds]
    lengths: list[int]  # in tokens, at least one each
    waiting_tokens: int
    sent: int = field(default=0, init=False)
    credit: int = field(default=0, init=False)  # tokens that its turns gave it and it has not used


T = TypeVar("T", bound=Queued)


class FairQueue(Generic[T]):
    """Deficit round robin over requests: a turn adds TURN_TOKENS of credit, and texts leave as far as credit goes.

    Turns cost nothing, so a request that waits alone fills whole slices. Each request keeps the order of its texts.
    `occupied` is `tokens` with no request counted above `fair_part`: a large one does not hold up the others, which
    take turns with it, so it must not shut them out either.
    """

    def __init__(self, fair_part: int) -> None:
        self.fair_part = fair_part
        self._requests: deque[T] = deque()
        self._is_turn_open = False  # the first request was stopped in its turn by the end of a slice
        self.tokens = 0
        self.occupied = 0
        self.requests = 0

    def add(self, request: T) -> None:
        self._requests.append(request)
        self.tokens += request.waiting_tokens
        self.occupied += min(request.waiting_tokens, self.fair_part)
        self.requests += 1

    def set_fair_part(self, fair_part: int) -> None:
        """Count what waits anew: the limit of which it is a part has changed."""
        self.fair_part = fair_part
        self.occupied = sum(min(request.waiting_tokens, fair_part) for request in self._requests)

    def discard(self, request: T) -> None:
        """The rows of the request that have not left never will; nothing happens if there are none."""
        if request.waiting_tokens:
            request.sent = len(request.texts)
            self._count_out(request, request.waiting_tokens)
            if not self.requests:
                self._requests.clear()

    def tokens_before(self, texts: int, tokens: int) -> int:
        """About how many of the tokens waiting now leave before a new request of this size has left as a whole."""
        turns = max(-(-tokens // TURN_TOKENS), -(-texts // TURN_TEXTS))
        return min(self.tokens, self.requests * turns * TURN_TOKENS)

    def take(self, max_tokens: int, max_texts: int) -> list[tuple[T, range]]:
        """The next slice, as rows of requests; a text longer than `max_tokens` leaves alone. Empty if nothing waits."""
        first_rows: dict[T, int] = {}
        tokens, texts = max_tokens, max_texts
        requests = self._requests
        while requests and tokens > 0 and texts > 0:
            request = requests[0]
            start, before = request.sent, request.waiting_tokens
            self._take_turn(request, tokens, texts, is_slice_empty=texts == max_texts)
            if request.sent > start:
                first_rows.setdefault(request, start)
                tokens -= before - request.waiting_tokens
                texts -= request.sent - start
            if self._is_turn_open:
                break
            if request.waiting_tokens:
                requests.rotate(-1)
            else:
                requests.popleft()
        return [(request, range(start, request.sent)) for request, start in first_rows.items()]

    def _take_turn(self, request: T, tokens: int, texts: int, is_slice_empty: bool) -> None:
        """Move the request's cursor as far as its credit and the room in the slice go."""
        credit = request.credit if self._is_turn_open else request.credit + TURN_TOKENS
        self._is_turn_open = False
        lengths, row, used = request.lengths, request.sent, 0
        last, full = min(len(lengths), row + TURN_TEXTS), row + texts
        while row < last and used + lengths[row] <= credit:
            is_too_long = used + lengths[row] > tokens and not (is_slice_empty and not used)
            if row == full or is_too_long:
                self._is_turn_open = True
                break
            used += lengths[row]
            row += 1
        request.sent = row
        request.credit = 0 if row == last else credit - used  # short texts leave credit over that nobody should save up
        self._count_out(request, used)

    def _count_out(self, request: T, tokens: int) -> None:
        if tokens:
            before = request.waiting_tokens
            request.waiting_tokens -= tokens
            self.tokens -= tokens
            self.occupied -= min(before, self.fair_part) - min(request.waiting_tokens, self.fair_part)
            if not request.waiting_tokens:
                self.requests -= 1
