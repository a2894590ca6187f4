"""Vectors of texts, computed only if nobody has done so or is doing so: cache ▸ texts in flight ▸ dispatcher."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from serve_app.core.cache import Key, VectorCache, key_of
from serve_app.core.errors import DeadlineExceeded, ReplicaUnavailable
from serve_app.core.types import Priority, TokenIds, Vectors
from serve_app.dispatch.dispatcher import SliceDispatcher
from serve_app.dispatch.flights import NOTHING, Flight, Place, Plan, assemble
from serve_app.dispatch.lane import REPLACED_RETRY_S, Computed
from serve_app.telemetry.metrics import CACHE_BYTES, CACHE_HITS, CACHE_MISSES, MetricSink

GAUGE_STEPS = 256  # CACHE_BYTES is that exact, instead of being set for every request
CacheMode = Literal["use", "bypass"]  # bypass: neither read nor stored, nor shared with texts in flight


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of one request: (texts, native dimensions), in order, all computed by the same model version.

    Whoever gets them must not write into them: they may be the cache's own. `computed_texts` of the texts were computed
    for this request; the others were cached or in flight.
    """

    vectors: Vectors
    computed_texts: int


class VectorSource:
    """The vectors of one model for one Router. Without a cache, texts in flight are not shared either: no hashing."""

    def __init__(self, dispatcher: SliceDispatcher, cache_bytes: int, model_name: str, recorder: MetricSink) -> None:
        self._dispatcher = dispatcher
        self._cache = VectorCache(cache_bytes)
        self._is_caching = cache_bytes > 0
        self._model_name = model_name
        self._recorder = recorder
        self._in_flight: dict[Key, Place] = {}
        self._fingerprint: str | None = None  # of the last answer, and of all that is cached
        self._shown_bytes = 0
        self._shown_step = max(1, cache_bytes // GAUGE_STEPS)

    async def embed(
        self, texts: list[TokenIds], priority: Priority, timeout_s: float, cache_mode: CacheMode
    ) -> Embedded:
        """Raises what SliceDispatcher.embed raises, but never because another request failed or gave up."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            if not self._is_caching or cache_mode == "bypass":
                return await self._compute_all(texts, priority, deadline, attempts=2)
            return await self._find_or_compute(texts, priority, deadline)
        except (DeadlineExceeded, TimeoutError):
            raise DeadlineExceeded(
                f"The vectors were not ready within {timeout_s:g} s: send fewer or shorter texts at once, or try later."
            ) from None

    def check_room(self, priority: Priority, texts: int, tokens: int, timeout_s: float) -> None:
        """As SliceDispatcher.check_room, for work that is better not begun when its result would be refused."""
        self._dispatcher.check_room(priority, texts, tokens, timeout_s)

    async def _find_or_compute(self, texts: list[TokenIds], priority: Priority, deadline: float) -> Embedded:
        of_cache = self._fingerprint
        plan = self._plan(texts, priority)
        if plan.new:
            computed = await self._lead(plan, deadline)
            if len(plan.new) == len(texts) and computed.fingerprint is not None:
                return Embedded(computed.vectors, len(texts))
        recomputed = await self._follow(plan, texts, deadline)
        fingerprints = plan.fingerprints(of_cache)
        if len(fingerprints) > 1 or None in fingerprints:
            return await self._compute_all(texts, priority, deadline, attempts=1)
        return Embedded(assemble(plan.places), len(plan.new) + recomputed)

    def _plan(self, texts: list[TokenIds], priority: Priority) -> Plan:
        """Looks every text up. The caller must lead the plan: others may join its flight from now on."""
        plan = Plan(Flight(priority))
        own_rows: dict[Key, int] = {}
        stored = 0
        for text in texts:
            key = key_of(text)
            vector = self._cache.get(key)
            if vector is not None:
                plan.places.append(vector)
                stored += 1
                continue
            place = self._joinable(key, priority)
            if place is None:
                if key not in own_rows:
                    own_rows[key] = len(plan.new)
                    plan.new.append(text)
                place = (plan.own, own_rows[key])
            plan.places.append(place)
        plan.new_keys.extend(own_rows)
        self._announce(plan)
        self._record(stored, len(texts) - stored - len(plan.new), len(plan.new))
        return plan

    def _joinable(self, key: Key, priority: Priority) -> Place | None:
        """The text in flight, unless it is so as bulk and wanted interactively: that may take its time."""
        place = self._in_flight.get(key)
        return None if place is None or place[0].priority > priority else place

    def _announce(self, plan: Plan) -> None:
        """Others may join if it is one slice: a flight lands as a whole, and its last slice may be far behind."""
        if self._dispatcher.is_one_slice(plan.new):
            for row, key in enumerate(plan.new_keys):
                self._in_flight[key] = (plan.own, row)

    def _record(self, stored: int, in_flight: int, missed: int) -> None:
        if stored:
            self._recorder.inc(CACHE_HITS, stored, self._model_name, "stored")
        if in_flight:
            self._recorder.inc(CACHE_HITS, in_flight, self._model_name, "in_flight")
        if missed:
            self._recorder.inc(CACHE_MISSES, missed, self._model_name)

    async def _lead(self, plan: Plan, deadline: float) -> Computed:
        computed = NOTHING
        try:
            computed = await self._dispatcher.embed(plan.new, plan.own.priority, _left(deadline))
            self._note(computed)
            return computed
        finally:
            for key in plan.new_keys:
                place = self._in_flight.get(key)
                if place is not None and place[0] is plan.own:
                    del self._in_flight[key]
            plan.own.land(computed)
            if computed.fingerprint is not None and plan.own.priority is Priority.INTERACTIVE:
                self._store(plan.new_keys, computed)  # bulk would fill the cache with what nobody asks for again

    async def _follow(self, plan: Plan, texts: list[TokenIds], deadline: float) -> int:
        """Wait for the flights of others. What they fail to bring is computed here, unshared: how many texts it was."""
        joined = [place for place in plan.places if isinstance(place, tuple)]
        for flight in {flight: None for flight, _ in joined}:
            await flight.wait(deadline)
        lost = [
            row for row, place in enumerate(plan.places) if isinstance(place, tuple) and place[0].computed is NOTHING
        ]
        if lost:
            again = Flight(plan.own.priority)
            again.land(await self._compute([texts[row] for row in lost], plan.own.priority, deadline))
            for place, row in enumerate(lost):
                plan.places[row] = (again, place)
        return len(lost)

    async def _compute_all(self, texts: list[TokenIds], priority: Priority, deadline: float, attempts: int) -> Embedded:
        """All texts anew, so that one model version computes them all. Raises ReplicaUnavailable if that fails."""
        for _ in range(attempts):
            computed = await self._compute(texts, priority, deadline)
            if computed.fingerprint is not None:
                return Embedded(computed.vectors, len(texts))
        raise ReplicaUnavailable(
            f"Replicas of two versions of {self._model_name} answer: it is being replaced, try again soon.",
            retry_after_s=REPLACED_RETRY_S,
        )

    async def _compute(self, texts: list[TokenIds], priority: Priority, deadline: float) -> Computed:
        computed = await self._dispatcher.embed(texts, priority, _left(deadline))
        self._note(computed)
        return computed

    def _note(self, computed: Computed) -> None:
        """Replicas of another version answer: what older ones computed is worth nothing any more."""
        if computed.fingerprint is not None and computed.fingerprint != self._fingerprint:
            self._fingerprint = computed.fingerprint
            self._cache.clear()

    def _store(self, keys: list[Key], computed: Computed) -> None:
        for key, vector in zip(keys, computed.vectors, strict=True):
            self._cache.put(key, vector)
        if abs(self._cache.bytes - self._shown_bytes) >= self._shown_step:
            self._shown_bytes = self._cache.bytes
            self._recorder.set(CACHE_BYTES, self._shown_bytes, self._model_name)


def _left(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()
