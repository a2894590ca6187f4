"""The replica: one engine, fed with slices by whoever holds a handle. It does no JSON, no tokenising, no base64."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray import serve

from serve_app.core.engine import EmbeddingEngine
from serve_app.core.errors import EngineFailed, InputTooLong, InvalidRequest
from serve_app.core.garbage import no_garbage_collection
from serve_app.core.inbox import Feed, Job
from serve_app.core.profile import ModelProfile
from serve_app.core.replica_load import ReplicaLoad
from serve_app.core.step_results import Outcome, StepReport
from serve_app.core.types import Priority, ReplicaCounters, Slice, SliceAnswer, Vectors
from serve_app.core.worker import EngineWorker, WorkerLimits, engine_is_gone
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.model.checkpoint import locate, read_profile
from serve_app.model.golden import read_golden
from serve_app.model.readiness import AGREEMENT, check_engine, probe_texts
from serve_app.settings import ModelSettings, ReplicaLimits
from serve_app.telemetry.engine_metrics import EngineMetrics
from serve_app.telemetry.ray_metrics import RayMetrics
from serve_app.telemetry.recorder import Recorder

MOST_QUANTUM_TOKENS = 2048  # beside interactive traffic, bulk gets no more at a time: enough to keep a GPU efficient
LEAST_QUANTUM_TOKENS = {"gpu": 256, "cpu": 128}  # about where computing a step takes longer than reading the weights
QUANTUM_S = {"gpu": 0.015, "cpu": 0.04}  # a step costs some milliseconds whatever it computes, and more on a CPU
GIL_SWITCH_S = 0.0005  # the default of 5 ms would let the engine thread keep the event loop waiting that long
PROOF_LIMIT_S = 20.0  # Serve waits 30 s for a health check; what is interactive has its turn long before
LEAVE_AFTER_S = 0.2  # time for the failures just delivered to reach their callers

log = logging.getLogger("ray.serve")


class Embedder:
    """Serves slices of token ids. Ready means: the engine has passed `check_engine`, golden vectors included."""

    def __init__(self, settings: ModelSettings) -> None:
        """Raises SetupError if the checkpoint, the engine or its vectors are not as they must be."""
        sys.setswitchinterval(GIL_SWITCH_S)
        golden = read_golden(settings.golden) if settings.golden else None
        self._profile = read_profile(settings, locate(settings.path, weights=True))
        # Without it, searching what importing vLLM makes took a quarter of the CPU time of a start.
        with no_garbage_collection():
            engine = VllmEngine(settings, self._profile)
        check_engine(engine, self._profile, golden, AGREEMENT[settings.engine.quantization])
        self._proof = Slice.of(probe_texts(engine, self._profile), Priority.INTERACTIVE, PROOF_LIMIT_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_leaving = False
        self._waiters: dict[Job, asyncio.Future[Vectors]] = {}
        self._name = secrets.token_hex(4)
        self._load = ReplicaLoad()
        self._longest_text = min(self._profile.max_tokens, engine.capacity_tokens)
        self._recorder = Recorder(RayMetrics())
        self._metrics = EngineMetrics(
            self._profile.name, self._profile.flops_per_token, engine.peak_flops, self._recorder
        )
        bounds = WorkerLimits(ReplicaLimits().max_queued_tokens, settings.engine.stuck_after_s)
        self._worker = EngineWorker(engine, _feed(engine, settings), bounds, self._deliver, self._report)
        self._worker.start(self._crashed)

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Serve calls this at the start and whenever the limits change."""
        self._worker.set_max_queued_tokens(ReplicaLimits.model_validate(user_config).max_queued_tokens)

    async def embed(self, slice_: Slice) -> SliceAnswer:
        """Vectors of the slice's texts, in order, and which of them failed the checks.

        Raises InvalidRequest, Overloaded, DeadlineExceeded, EngineFailed or ReplicaUnavailable.
        """
        self._loop = asyncio.get_running_loop()
        self._check(slice_)
        if slice_.sender:
            self._load.heard(slice_.sender, slice_.backlog_tokens, time.monotonic())
        job = self._worker.submit(slice_)
        answer: asyncio.Future[Vectors] = self._loop.create_future()
        self._waiters[job] = answer
        try:
            vectors = await answer
            return SliceAnswer(
                vectors, self._profile.fingerprint, self._worker.tokens_per_s, self._name, faulty=job.faulty
            )
        except asyncio.CancelledError:
            self._worker.abandon(job)
            raise
        finally:
            del self._waiters[job]

    async def describe(self) -> ModelProfile:
        """What is served here. Routers ask this to learn whether anything is: if not, it raises ReplicaUnavailable."""
        if not self._worker.is_serving or self._worker.is_stuck(time.monotonic()):
            raise engine_is_gone()
        return self._profile

    async def counters(self) -> ReplicaCounters:
        worker = self._worker
        return ReplicaCounters(
            replica=serve.get_replica_context().replica_id.unique_id,
            texts={priority.label: count for priority, count in worker.done.texts.items()},
            tokens={priority.label: count for priority, count in worker.done.tokens.items()},
            queued_tokens=worker.queued_tokens,
            steps=worker.done.steps,
        )

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve calls this about once a second for `serve_app.autoscaling`, if the number of replicas is not fixed."""
        worker = self._worker
        done = sum(worker.done.tokens.values())
        return self._load.stats(worker.queued_tokens, done, worker.tokens_per_s, time.monotonic())

    async def metrics(self) -> tuple[str, bytes]:
        """(replica, its series in Prometheus' text format)."""
        self._metrics.update_gauges(self._worker.queued_tokens_of)
        return serve.get_replica_context().replica_id.unique_id, self._recorder.samples()

    async def check_health(self) -> None:
        """Serve calls this; raising replaces the replica."""
        worker = self._worker
        self._recorder.flush()  # also while nothing happens, so that the last gauges reach Ray's metrics
        if worker.is_stuck(time.monotonic()):
            worker.give_up()
            self._leave_soon()
            raise EngineFailed("The engine works on texts and has computed nothing for too long.")
        if not worker.is_serving:
            raise EngineFailed("The engine has stopped.")
        if worker.done.is_engine_suspect:
            await self._prove_engine()

    async def _prove_engine(self) -> None:
        """Raises EngineFailed if the engine fails at what it could compute when it started, or another RequestError.

        Faulty vectors alone prove nothing, however many there are: whoever finds texts that the model cannot compute
        must not be able to restart replicas with them.
        """
        if (await self.embed(self._proof)).faulty:
            raise EngineFailed("The engine computes faulty vectors, also of the texts that it began with.")

    def _check(self, slice_: Slice) -> None:
        lengths = np.diff(slice_.offsets)
        if not len(lengths) or lengths.min() < 1:
            raise InvalidRequest("A slice needs texts, and each of them at least one token.", param="input")
        if lengths.max() > self._longest_text:
            raise InputTooLong(
                f"An input has {lengths.max()} tokens and at most {self._longest_text} fit: shorten or split it.",
                param="input",
            )
        if slice_.ids.min() < 0 or slice_.ids.max() >= self._profile.vocab_size:
            raise InvalidRequest(f"Token ids must be 0 to {self._profile.vocab_size - 1}.", param="input")

    def _report(self, done: StepReport) -> None:
        """Runs on the engine thread, after every step."""
        self._metrics.record(done)
        self._metrics.update_gauges(self._worker.queued_tokens_of)

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """Runs on the engine thread: one hop to the loop for all slices that ended in a step."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _crashed(self) -> None:
        """Runs on the engine thread, which is ending. The loop is known: only texts, which come with one, crash it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave_soon)

    def _leave_soon(self) -> None:
        """End the process once its last answers are out.

        Serve needs seconds to replace a replica that says it is unhealthy, and meanwhile prefers it to all others,
        because it fails so fast; a process that has ended gets no more slices.
        """
        if self._is_leaving:
            return
        self._is_leaving = True
        log.error("The engine of this replica has stopped: the process ends, so that it gets no more slices.")
        asyncio.get_running_loop().call_later(LEAVE_AFTER_S, _leave)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        for job, error in outcomes:
            answer = self._waiters.get(job)
            if answer is None or answer.done():
                continue
            if error is None:
                answer.set_result(job.vectors)
            else:
                answer.set_exception(error)


def _feed(engine: EmbeddingEngine, settings: ModelSettings) -> Feed:
    most = min(MOST_QUANTUM_TOKENS, engine.step_tokens // 2)
    device = "gpu" if settings.gpus_per_replica else "cpu"
    least = min(LEAST_QUANTUM_TOKENS[device], most)
    texts, seconds = settings.engine.step_texts, QUANTUM_S[device]
    return Feed(engine.step_tokens, least, most, engine.capacity_tokens, texts, seconds)


def _leave() -> None:
    os._exit(1)  # not sys.exit: nothing may wait for the engine thread, which may never come back
