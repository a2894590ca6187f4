"""Texts on their way for one request that others may wait for, and where each text of a request comes from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from serve_app.core.cache import Key, Vector
from serve_app.core.types import Priority, TokenIds, Vectors
from serve_app.dispatch.lane import Computed

NOTHING = Computed(np.empty((0, 0), dtype=np.float32), None)


@dataclass(slots=True, eq=False)
class Flight:
    """The texts that one request, the leader, has sent. Others may wait for them."""

    priority: Priority
    is_over: bool = False
    computed: Computed = NOTHING  # so it stays if the leader failed or gave up
    followers: list[asyncio.Future[None]] = field(default_factory=list)

    def land(self, computed: Computed) -> None:
        self.is_over = True
        self.computed = computed
        for follower in self.followers:
            if not follower.done():
                follower.set_result(None)

    async def wait(self, deadline: float) -> None:
        """Until the flight is over; raises TimeoutError at the caller's own deadline."""
        if not self.is_over:
            follower: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.followers.append(follower)
            async with asyncio.timeout_at(deadline):
                await follower


Place = tuple[Flight, int]  # a row of what a flight brings


@dataclass(slots=True)
class Plan:
    """Where each text of a request comes from: a cached vector, or a place in a flight of this request or another."""

    own: Flight
    places: list[Vector | Place] = field(default_factory=list)
    new: list[TokenIds] = field(default_factory=list)  # row by row, what `own` brings
    new_keys: list[Key] = field(default_factory=list)

    def fingerprints(self, of_cache: str | None) -> set[str | None]:
        """Of everything the answer would be put together from."""
        return {place[0].computed.fingerprint if isinstance(place, tuple) else of_cache for place in self.places}


def assemble(places: list[Vector | Place]) -> Vectors:
    rows = [_row_of(place) for place in places]
    return rows[0][None, :] if len(rows) == 1 else np.stack(rows)


def _row_of(place: Vector | Place) -> Vector:
    if not isinstance(place, tuple):
        return place
    flight, row = place
    vector: Vector = flight.computed.vectors[row]
    return vector
