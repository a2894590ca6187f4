"""Every metric of serving: name, unit, labels, buckets, and the `Recorder` that counts them. Nothing else declares one.

Each process records into a registry of its own, which `GET /metrics` gathers from all of them for a single scrape, and
into Ray's metrics, so that every node's metrics port exports the same (there with the prefix `ray_`).
Labels hold names from the configuration and fixed words, never anything a client sent.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["requests", "slices", "texts", "tokens", "vectors", "bytes", "seconds", "tokens/s", "ratio"]
EXPORT_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, eq=False)  # a declaration is itself: hashed in no time, in the hot path
class Metric:
    """One declaration. A counter's name has no `_total`: the exporters add it."""

    name: str
    kind: Kind
    unit: Unit
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()  # upper bounds of a histogram, in its unit, ascending; +Inf is added


SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
TOKEN_COUNTS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
BY_MODEL = ("model",)
BY_CLASS = ("model", "class")

# Router
REQUESTS = Metric("embed_requests", "counter", "requests", "Answered requests.", ("model", "class", "status"))
REQUEST_SECONDS = Metric(
    "embed_request_seconds", "histogram", "seconds", "From the whole body to the answer.", BY_CLASS, SECONDS
)
TEXTS = Metric("embed_texts", "counter", "texts", "Texts of answered requests.", BY_CLASS)
TOKENS = Metric("embed_tokens", "counter", "tokens", "Tokens of answered requests.", BY_CLASS)
QUEUE_TOKENS = Metric("embed_queue_tokens", "gauge", "tokens", "Tokens waiting in the Router.", BY_CLASS)
QUEUE_SECONDS = Metric(
    "embed_queue_seconds", "histogram", "seconds", "Waiting in the Router for a slice to leave.", BY_CLASS, SECONDS
)
SLICE_TOKENS = Metric("embed_slice_tokens", "histogram", "tokens", "Tokens of a slice sent.", BY_CLASS, TOKEN_COUNTS)
CACHE_HITS = Metric(
    "embed_cache_hits", "counter", "texts", "Texts not computed: `stored`, or `in_flight`.", ("model", "kind")
)
CACHE_MISSES = Metric("embed_cache_misses", "counter", "texts", "Texts looked up in the cache in vain.", BY_MODEL)
CACHE_BYTES = Metric("embed_cache_bytes", "gauge", "bytes", "Size of the cache.", BY_MODEL)
REJECTIONS = Metric("embed_rejections", "counter", "requests", "Requests refused, by error code.", ("reason",))
RETRIES = Metric("embed_retries", "counter", "slices", "Slices sent again after a replica died.", BY_MODEL)
# Embedder
ENGINE_TOKENS = Metric("embed_engine_tokens", "counter", "tokens", "Tokens computed.", BY_CLASS)
ENGINE_TEXTS = Metric("embed_engine_texts", "counter", "texts", "Texts computed.", BY_CLASS)
ENGINE_STEP_TOKENS = Metric(
    "embed_engine_step_tokens", "histogram", "tokens", "Tokens finished by a step.", BY_MODEL, TOKEN_COUNTS
)
ENGINE_STEP_SECONDS = Metric(
    "embed_engine_step_seconds", "histogram", "seconds", "Time of an engine step.", BY_MODEL, SECONDS
)
ENGINE_QUEUE_TOKENS = Metric("embed_engine_queue_tokens", "gauge", "tokens", "Tokens waiting in a replica.", BY_CLASS)
ENGINE_TOKENS_PER_SECOND = Metric(
    "embed_engine_tokens_per_second", "gauge", "tokens/s", "Tokens a second, lately.", BY_MODEL
)
ENGINE_MFU = Metric(
    "embed_engine_mfu_ratio", "gauge", "ratio", "Estimated part of the GPU's peak arithmetic used.", BY_MODEL
)
ENGINE_FAULTS = Metric("embed_engine_faults", "counter", "vectors", "Vectors that failed the checks.", BY_MODEL)

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


LabelValues = tuple[str, ...]
Series = tuple[Metric, LabelValues]


class MetricSink(Protocol):
    """What code that only records needs to know. `label_values` stand in the order of the declaration."""

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None: ...

    def set(self, metric: Metric, value: float, *label_values: str) -> None: ...

    def observe(self, metric: Metric, value: float, *label_values: str) -> None: ...


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
