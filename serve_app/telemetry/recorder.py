"""The `Recorder`: counts what one process does, for its own exposition and for Ray's metrics."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily

from serve_app.telemetry.metrics import Kind, Metric, MetricSink

EXPORT_EVERY_S = 2.0
LabelValues = tuple[str, ...]
Series = tuple[Metric, LabelValues]


@dataclass(slots=True)
class _Counter:
    value: float = 0.0
    exported: float = 0.0


@dataclass(slots=True)
class _Histogram:
    counts: list[int]  # of each bucket and, last, of what is above them all; not cumulative
    sum: float = 0.0


class Recorder:
    """The series of one process, for `samples`, and handed on to `exporter` (Ray's metrics) if there is one.

    Handing on costs several times what counting does. So observations go on at once, but counters (by how much they
    grew) and gauges (as they stand) only with the first recording after 2 s, and with `flush` and `samples`.
    Threads may share a Recorder. The first recording of a series raises TypeError if the metric is of another kind or a
    label value is no string, ValueError if there are too many or too few of those or the name is already taken.
    """

    def __init__(self, exporter: MetricSink | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._clock = clock
        self._exported_at = clock()
        self._lock = Lock()
        self._declared: dict[str, Metric] = {}
        self._counters: dict[Series, _Counter] = {}
        self._gauges: dict[Series, float] = {}
        self._histograms: dict[Series, _Histogram] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None:
        """Raises ValueError for a negative amount: a counter never falls."""
        if amount < 0:
            raise ValueError(f"{metric.name} is a counter and cannot grow by {amount}")
        with self._lock:
            counter = self._counters.get((metric, label_values))
            if counter is None:
                self._check(metric, "counter", label_values)
                counter = self._counters[metric, label_values] = _Counter()
            counter.value += amount
            self._export_if_due()

    def set(self, metric: Metric, value: float, *label_values: str) -> None:
        series = (metric, label_values)
        with self._lock:
            if series not in self._gauges:
                self._check(metric, "gauge", label_values)
            self._gauges[series] = value
            self._export_if_due()

    def observe(self, metric: Metric, value: float, *label_values: str) -> None:
        with self._lock:
            histogram = self._histograms.get((metric, label_values))
            if histogram is None:
                self._check(metric, "histogram", label_values)
                histogram = self._histograms[metric, label_values] = _Histogram([0] * (len(metric.buckets) + 1))
            histogram.counts[bisect_left(metric.buckets, value)] += 1
            histogram.sum += value
            if self._exporter is not None:
                self._exporter.observe(metric, value, *label_values)
                self._export_if_due()

    def flush(self) -> None:
        """Hand on what waits. For a process that may have nothing more to record for a while."""
        with self._lock:
            self._export()

    def samples(self) -> bytes:
        """Every series in Prometheus' text format."""
        self.flush()
        return generate_latest(self._registry)

    def collect(self) -> Iterator[MetricFamily]:
        """For prometheus_client: a consistent view of all series, one family a declaration."""
        with self._lock:
            counters = {
                metric: CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
                for metric, _ in self._counters
            }
            gauges = {
                metric: GaugeMetricFamily(metric.name, metric.help, labels=metric.labels) for metric, _ in self._gauges
            }
            histograms = {
                metric: HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for metric, _ in self._histograms
            }
            for (metric, values), counter in self._counters.items():
                counters[metric].add_metric(values, counter.value)
            for (metric, values), value in self._gauges.items():
                gauges[metric].add_metric(values, value)
            for (metric, values), histogram in self._histograms.items():
                histograms[metric].add_metric(values, _cumulative(metric, histogram), histogram.sum)
        yield from (*counters.values(), *gauges.values(), *histograms.values())

    def _check(self, metric: Metric, kind: Kind, label_values: LabelValues) -> None:
        if metric.kind != kind:
            raise TypeError(f"{metric.name} is a {metric.kind}, not a {kind}")
        if not all(isinstance(value, str) for value in label_values):
            raise TypeError(f"label values of {metric.name} are strings: {', '.join(metric.labels)}")
        if len(label_values) != len(metric.labels):
            raise ValueError(f"{metric.name} takes the labels {metric.labels}, not {len(label_values)} values")
        if self._declared.setdefault(metric.name, metric) is not metric:
            raise ValueError(f"{metric.name} is declared twice")

    def _export_if_due(self) -> None:
        if self._exporter is not None and self._clock() - self._exported_at >= EXPORT_EVERY_S:
            self._export()

    def _export(self) -> None:
        if self._exporter is None:
            return
        self._exported_at = self._clock()
        for (metric, values), counter in self._counters.items():
            if counter.value > counter.exported:
                self._exporter.inc(metric, counter.value - counter.exported, *values)
                counter.exported = counter.value
        for (metric, values), value in self._gauges.items():  # unchanged ones too: Ray forgets what nobody repeats
            self._exporter.set(metric, value, *values)


def _cumulative(metric: Metric, histogram: _Histogram) -> list[tuple[str, float]]:
    bounds = (*(str(float(bound)) for bound in metric.buckets), "+Inf")
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
