"""Every metric of the product: name, unit, labels, buckets. Nothing else declares one.

Each process of serving records into a registry of its own, which `GET /metrics` gathers from all of them for a single
scrape, and into Ray's metrics, so that every node's metrics port exports the same (there with the prefix `ray_`).
Ingestion records into Ray's metrics alone.
Labels hold names from the configuration and fixed words, never anything a client sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["counter", "gauge", "histogram"]
# fmt: off
Unit = Literal[
    "requests", "slices", "texts", "tokens", "vectors", "replicas", "files", "chunks", "runs",
    "bytes", "seconds", "tokens/s", "ratio",
]
# fmt: on


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
BY_COLLECTION = ("collection",)

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
SCRAPE_MISSING = Metric(  # not recorded, but told by the scrape it is about
    "embed_scrape_missing", "gauge", "replicas", "Replicas that this scrape asked in vain.", ("deployment",)
)
# Embedder
ENGINE_TOKENS = Metric("embed_engine_tokens", "counter", "tokens", "Tokens computed.", BY_CLASS)
ENGINE_TEXTS = Metric("embed_engine_texts", "counter", "texts", "Texts computed.", BY_CLASS)
ENGINE_STEP_TOKENS = Metric(
    "embed_engine_step_tokens", "histogram", "tokens", "Tokens computed by a step.", BY_MODEL, TOKEN_COUNTS
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
# Ingestion, the process that drives a run
INGEST_RUNS = Metric("ingest_runs", "counter", "runs", "Ended runs.", ("collection", "outcome"))
INGEST_RUN_SECONDS = Metric("ingest_run_seconds", "counter", "seconds", "Duration of ended runs.", BY_COLLECTION)
INGEST_FILES = Metric("ingest_files", "counter", "files", "Files by what became of them.", ("collection", "outcome"))
INGEST_CHUNKS = Metric(
    "ingest_chunks", "counter", "chunks", "Chunks by what became of them.", ("collection", "outcome")
)
INGEST_TOKENS = Metric("ingest_tokens", "counter", "tokens", "Tokens of embedded chunks.", BY_COLLECTION)
INGEST_DEAD_LETTERS = Metric(
    "ingest_dead_letters", "counter", "files", "Files of which something was left out.", ("collection", "reason")
)
INGEST_PENDING_FILES = Metric("ingest_pending_files", "gauge", "files", "Files still to settle.", BY_COLLECTION)
INGEST_PROGRESS_SECONDS = Metric(
    "ingest_progress_timestamp_seconds", "gauge", "seconds", "When a batch was last stored (Unix time).", BY_COLLECTION
)
INGEST_SUCCESS_SECONDS = Metric(
    "ingest_success_timestamp_seconds", "gauge", "seconds", "When a run last succeeded (Unix time).", BY_COLLECTION
)

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


class MetricSink(Protocol):
    """What code that only records needs to know. `label_values` stand in the order of the declaration."""

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None: ...

    def set(self, metric: Metric, value: float, *label_values: str) -> None: ...

    def observe(self, metric: Metric, value: float, *label_values: str) -> None: ...
