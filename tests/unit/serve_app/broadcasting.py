"""A deployment handle whose replicas answer a call to all of them, each in its own way."""

from __future__ import annotations

import asyncio
from typing import Any, Final

HANGS: Final = object()  # a replica that never answers


class Call:
    """To one replica, as Serve represents it. `is_cancelled` once nobody waits for the answer any more."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome
        self.is_cancelled = False

    async def get_async(self) -> Any:
        if self._outcome is HANGS:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.is_cancelled = True
                raise
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Broadcast:
    """To the replicas of `outcomes`; `refusal`: the replicas are not even known."""

    def __init__(self, outcomes: list[Any], refusal: Any = None) -> None:
        self.calls = [Call(outcome) for outcome in outcomes]
        self._refusal = refusal

    async def _fetch_replica_results_async(self) -> list[Call]:
        if self._refusal is HANGS:
            await asyncio.Event().wait()
        if self._refusal is not None:
            raise self._refusal
        return self.calls
