"""What a replica's steps add to its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from serve_app.core.step_results import StepReport
from serve_app.core.types import Priority
from serve_app.telemetry import metrics
from serve_app.telemetry.metrics import MetricSink

GAUGE_PERIOD_S = 0.5


class EngineMetrics:
    """Counts each step as it ends, on the engine's thread; gauges are updated from any thread, at most twice a second.

    `flops_per_token` is the model's, `peak_flops` the GPUs' of the replica: without it there is no MFU.
    """

    def __init__(
        self,
        model: str,
        flops_per_token: float,
        peak_flops: float | None,
        recorder: MetricSink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._recorder = recorder
        self._clock = clock
        self._tokens = 0
        self._lock = Lock()
        self._updated = clock(), 0  # when the gauges were, and the tokens until then

    def record(self, done: StepReport) -> None:
        recorder = self._recorder
        self._tokens += done.computed
        for priority in Priority:
            if done.texts[priority]:
                recorder.inc(metrics.ENGINE_TEXTS, done.texts[priority], self._model, priority.label)
                recorder.inc(metrics.ENGINE_TOKENS, done.tokens[priority], self._model, priority.label)
        if done.faults:
            recorder.inc(metrics.ENGINE_FAULTS, done.faults, self._model)
        recorder.observe(metrics.ENGINE_STEP_TOKENS, done.computed, self._model)
        recorder.observe(metrics.ENGINE_STEP_SECONDS, done.seconds, self._model)

    def update_gauges(self, queued_tokens: Callable[[Priority], int]) -> None:
        """Tokens a second and MFU are means over the time since the last update, idle time included."""
        with self._lock:
            now, tokens = self._clock(), self._tokens
            before, tokens_before = self._updated
            if now - before < GAUGE_PERIOD_S:
                return
            self._updated = now, tokens
        rate = (tokens - tokens_before) / (now - before)
        for priority in Priority:
            self._recorder.set(metrics.ENGINE_QUEUE_TOKENS, queued_tokens(priority), self._model, priority.label)
        self._recorder.set(metrics.ENGINE_TOKENS_PER_SECOND, rate, self._model)
        if self._peak_flops:
            self._recorder.set(metrics.ENGINE_MFU, rate * self._flops_per_token / self._peak_flops, self._model)
