"""How much waits, as a metric that costs next to nothing under load."""

from __future__ import annotations

from serve_app.core.types import Priority
from serve_app.telemetry.metrics import QUEUE_TOKENS, MetricSink

GAUGE_S = 0.1


class QueueGauges:
    """QUEUE_TOKENS, at most every GAUGE_S, and whenever the queues have become empty: nothing might follow that."""

    def __init__(self, recorder: MetricSink, model_name: str) -> None:
        self._recorder = recorder
        self._model_name = model_name
        self._shown = [0] * len(Priority)
        self._shown_at = 0.0

    def update(self, tokens: list[int], now: float) -> None:
        if tokens == self._shown or (now - self._shown_at < GAUGE_S and any(tokens)):
            return
        self._shown, self._shown_at = tokens, now
        for priority, waiting in zip(Priority, tokens, strict=True):
            self._recorder.set(QUEUE_TOKENS, waiting, self._model_name, priority.label)
