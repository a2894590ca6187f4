"""Lets as many slices through as the window allows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.embedding.aimd import AimdWindow


class SliceGate:
    """A semaphore whose size is the window's limit. First come, first served, but what was refused goes before.

    After a refusal nothing passes until the time the cluster asked for is over, or a slice that was under way has come
    back and left its room: whatever else was sent meanwhile would be refused as well.
    """

    def __init__(self, window: AimdWindow) -> None:
        self._window = window
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._in_flight = 0
        self._closed_until = 0.0  # on the event loop's clock

    @asynccontextmanager
    async def place(self, is_retry: bool) -> AsyncIterator[None]:
        await self._enter(is_retry)
        try:
            yield
        finally:
            self._in_flight -= 1
            self._admit()

    def close_for(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, now + seconds)

    def open(self) -> None:
        """For what comes next; who waits is let in when a place is left."""
        self._closed_until = 0.0

    async def _enter(self, is_retry: bool) -> None:
        place = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if is_retry else self._waiting.append)(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # let in at the same moment
                self._in_flight -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        if self._waiting and (left_s := self._closed_until - loop.time()) > 0:
            loop.call_later(left_s, self._admit)
            return
        while self._waiting and self._in_flight < self._window.limit:
            place = self._waiting.popleft()
            if not place.cancelled():
                self._in_flight += 1
                place.set_result(None)
