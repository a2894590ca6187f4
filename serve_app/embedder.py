"""The replica: one engine, fed with slices by whoever holds a handle. It does no JSON, no tokenising, no base64."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import numpy as np
from ray import serve

from serve_app.checkpoint import locate, read_profile
from serve_app.core.engine import EmbeddingEngine
from serve_app.core.errors import EngineFailed, InvalidRequest
from serve_app.core.inbox import Feed, Job
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Priority, ReplicaCounters, Slice, Vectors
from serve_app.core.worker import EngineWorker, Outcome, are_unit_norm
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.settings import LimitSettings, ModelSettings

BULK_QUANTUM_SHARE = 8  # beside interactive traffic, bulk gets an eighth of a step at a time
GIL_SWITCH_S = 0.0005  # the default of 5 ms would let the engine thread keep the event loop waiting that long


class Embedder:
    """Serves slices of token ids. Ready means: a vector has been computed and found finite, unit-norm and D wide."""

    def __init__(self, settings: ModelSettings, limits: LimitSettings) -> None:
        sys.setswitchinterval(GIL_SWITCH_S)
        self._profile = read_profile(settings, locate(settings.path, weights=True))
        engine = VllmEngine(settings, self._profile)
        _warm_up(engine, self._profile)
        self._loop: asyncio.AbstractEventLoop | None = None
        feed = Feed(engine.step_tokens, max(256, engine.step_tokens // BULK_QUANTUM_SHARE))
        self._waiters: dict[Job, asyncio.Future[Vectors]] = {}
        self._worker = EngineWorker(engine, feed, limits.max_queued_tokens, self._deliver)
        self._worker.start()

    async def embed(self, slice_: Slice) -> Vectors:
        """Vectors of the slice's texts: (texts, native dimensions) float32, unit norm, in order.

        Raises InvalidRequest, Overloaded, DeadlineExceeded, EngineFailed or ReplicaUnavailable.
        """
        self._loop = asyncio.get_running_loop()
        self._check(slice_)
        job = self._worker.submit(slice_)
        answer: asyncio.Future[Vectors] = self._loop.create_future()
        self._waiters[job] = answer
        try:
            return await answer
        except asyncio.CancelledError:
            self._worker.abandon(job)
            raise
        finally:
            del self._waiters[job]

    async def describe(self) -> ModelProfile:
        return self._profile

    async def counters(self) -> ReplicaCounters:
        worker = self._worker
        return ReplicaCounters(
            replica=serve.get_replica_context().replica_id.unique_id,
            texts={priority.label: count for priority, count in worker.texts_done.items()},
            tokens={priority.label: count for priority, count in worker.tokens_done.items()},
            queued_tokens=worker.queued_tokens,
            steps=worker.steps,
        )

    async def check_health(self) -> None:
        """Serve calls this; raising replaces the replica."""
        if not self._worker.is_alive:
            raise EngineFailed("The engine thread has ended.")

    def _check(self, slice_: Slice) -> None:
        lengths = np.diff(slice_.offsets)
        if not len(lengths) or lengths.min() < 1 or lengths.max() > self._profile.max_tokens:
            raise InvalidRequest(f"Every text of a slice needs 1 to {self._profile.max_tokens} tokens.", param="input")
        if slice_.ids.min() < 0 or slice_.ids.max() >= self._profile.vocab_size:
            raise InvalidRequest(f"Token ids must be 0 to {self._profile.vocab_size - 1}.", param="input")

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Runs on the engine thread: one hop to the loop for all slices that ended in a step."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        for job, error in outcomes:
            answer = self._waiters.get(job)
            if answer is None or answer.done():
                continue
            if error is None:
                answer.set_result(job.vectors)
            else:
                answer.set_exception(error)


def _warm_up(engine: EmbeddingEngine, profile: ModelProfile) -> None:
    """One short and one longer text, so that the first request pays for nothing the start could have paid for.

    Raises EngineFailed if their vectors are not what every later vector must be.
    """
    lengths = (4, min(64, profile.max_tokens))
    for key, length in enumerate(lengths):
        engine.add(key, np.arange(length, dtype=np.int32) % profile.vocab_size, Priority.INTERACTIVE)
    vectors: dict[int, Vectors] = {}
    while len(vectors) < len(lengths):
        vectors.update(engine.step())
    for vector in vectors.values():
        if vector.shape != (profile.native_dimensions,) or not are_unit_norm(vector[None, :]):
            raise EngineFailed(f"{profile.name} does not give unit vectors of {profile.native_dimensions} dimensions.")
