"""Whether any replica of a model answers.

Serve does not say so: with no replica left it parks a call until one is there. So a call that hangs means down, and
requests then get 503 with an honest `Retry-After` at once instead of hanging as well.

A model that may sleep, scaled to no replica at all, is another matter: the parked calls are what wakes it. Its requests
wait for the replica that starts, and get 503 only if it is not expected within their time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from serve_app.core.errors import ReplicaUnavailable, RequestError
from serve_app.core.profile import ModelProfile

PROBE_LIMIT_S = 1.0  # a replica answers this from its event loop in milliseconds, whatever its engine does
PROBE_PAUSE_S = 0.1
PARKED_LIMIT_S = 30.0  # a parked call is asked anew after so long, in case it was lost
ASSUMED_START_S = 30.0  # until a start was seen
LEAST_RETRY_S = 1.0

Describe = Callable[[], Awaitable[ModelProfile]]


class ReplicaGate:
    """Up until a probe fails; then down until one answers. `describe` raises RequestError, or hangs, when it cannot.

    `start_s` is how long a replica takes to start, until a start was seen. Probes run in a context of their own: Serve
    cancels calls made in the context of a request whose client leaves.
    """

    def __init__(
        self, describe: Describe, name: str, may_sleep: bool = False, start_s: float = ASSUMED_START_S
    ) -> None:
        self.name = name
        self.may_sleep = may_sleep
        self._describe = describe
        self._start_s = start_s
        self._down_since: float | None = None
        self._probe: asyncio.Task[bool] | None = None
        self._return: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._down_since is None

    def check(self, timeout_s: float) -> None:
        """Raises ReplicaUnavailable while no replica answers, unless it is worth waiting `timeout_s` for one."""
        if self._down_since is not None and not (self.may_sleep and self._expected_s() <= timeout_s):
            raise self.error()

    def error(self) -> ReplicaUnavailable:
        """What a request is told while no replica answers."""
        retry_after_s = self._expected_s()
        return ReplicaUnavailable(
            f"No replica of {self.name} answers; one is expected in about {retry_after_s:.0f} s: try again then.",
            retry_after_s=retry_after_s,
        )

    def _expected_s(self) -> float:
        """Until a replica answers; a start that takes longer than the last one is over any moment."""
        since = self._down_since
        down_s = 0.0 if since is None else asyncio.get_running_loop().time() - since
        return max(LEAST_RETRY_S, self._start_s - down_s)

    async def suspect(self) -> bool:
        """Whether a replica answers after all. Suspicions at the same time share one probe."""
        if not self.is_up:
            return False
        if self._probe is None:
            self._probe = asyncio.create_task(self._answers(), context=Context())
        return await asyncio.shield(self._probe)

    async def _answers(self) -> bool:
        began = asyncio.get_running_loop().time()
        try:
            if await self._answers_within(PROBE_LIMIT_S):
                return True
        finally:
            self._probe = None
        self._down_since = began
        self._return = asyncio.create_task(self._wait_for_return(began), context=Context())
        return False

    async def _wait_for_return(self, down_since: float) -> None:
        try:
            while not await self._answers_within(PARKED_LIMIT_S):
                pass
            self._start_s = asyncio.get_running_loop().time() - down_since
        finally:
            self._down_since = None  # whatever ended the waiting: nobody would open the gate again

    async def _answers_within(self, limit_s: float) -> bool:
        try:
            async with asyncio.timeout(limit_s):
                await self._describe_until_answered()
        except TimeoutError:
            return False
        return True

    async def _describe_until_answered(self) -> None:
        """A probe may itself meet the replica that just died: asked again, Serve picks another one."""
        while True:
            try:
                await self._describe()
            except RequestError:
                await asyncio.sleep(PROBE_PAUSE_S)
            else:
                return
