"""Serving's metrics as Ray's own, which every node exports on its metrics port. It keeps no values.

Ray puts `ray_` before each name and `_total` after a counter's: `embed_requests` becomes `ray_embed_requests_total`.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from serve_app.telemetry.metrics import Metric


class RayMetrics:
    """A `MetricSink` for use inside a Ray worker. The checks are the `Recorder`'s in front of it."""

    def __init__(self) -> None:
        self._counters: dict[Metric, Counter] = {}
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms: dict[Metric, Histogram] = {}

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None:
        counter = self._counters.get(metric)
        if counter is None:
            counter = self._counters[metric] = Counter(metric.name, metric.help, metric.labels)
        counter.inc(amount, _tags(metric, label_values))

    def set(self, metric: Metric, value: float, *label_values: str) -> None:
        gauge = self._gauges.get(metric)
        if gauge is None:
            gauge = self._gauges[metric] = Gauge(metric.name, metric.help, metric.labels)
        gauge.set(value, _tags(metric, label_values))

    def observe(self, metric: Metric, value: float, *label_values: str) -> None:
        histogram = self._histograms.get(metric)
        if histogram is None:
            histogram = Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)
            self._histograms[metric] = histogram
        histogram.observe(value, _tags(metric, label_values))


def _tags(metric: Metric, label_values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(metric.labels, label_values, strict=True))
