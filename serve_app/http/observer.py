"""What is kept of a request once it is over: metrics, a span, a line of log. Never its texts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serve_app.core.errors import RequestError
from serve_app.http.body import Headers
from serve_app.http.schemas import EmbeddingRequest
from serve_app.settings import ObservabilitySettings
from serve_app.telemetry import metrics
from serve_app.telemetry.access_log import AccessEntry, open_access_log, request_id_from
from serve_app.telemetry.metrics import MetricSink
from serve_app.telemetry.tracing import Answered, open_tracer

if TYPE_CHECKING:
    from serve_app.router import Answer

PATH = "/v1/embeddings"
UNKNOWN = "unknown"  # the label of a request that was refused before its model was known


@dataclass(slots=True)
class Seen:
    """One embeddings request as far as it got."""

    started: float = field(default_factory=time.perf_counter)
    key_id: str | None = None
    wanted: EmbeddingRequest | None = None
    model: str | None = None  # served name
    answer: Answer | None = None
    error: RequestError | None = None

    @property
    def status(self) -> int:
        if self.error is not None:
            return self.error.status
        return 200 if self.answer is not None else 500

    @property
    def traffic_class(self) -> str:
        return self.wanted.priority if self.wanted is not None else UNKNOWN


class RequestObserver:
    """Records every embeddings request of one Router."""

    def __init__(self, recorder: MetricSink, settings: ObservabilitySettings) -> None:
        self._recorder = recorder
        self._tracer = open_tracer(settings)
        self._log = open_access_log(settings)
        self._has_listeners = self._log is not None or settings.otlp_endpoint is not None

    @contextmanager
    def request(self, headers: Headers) -> Iterator[Seen]:
        """The block fills in what it learns; what it learnt is recorded when it ends, answered or not."""
        seen = Seen()
        try:
            if self._has_listeners:
                with self._watched(seen, headers):
                    yield seen
            else:
                yield seen
        finally:
            self._count(seen)

    @contextmanager
    def _watched(self, seen: Seen, headers: Headers) -> Iterator[None]:
        """A span around the block, and a line of log after it."""
        request_id = request_id_from(headers.items())
        with self._tracer.request(headers.items(), request_id) as span:
            try:
                yield
            finally:
                answered = _answered(seen)
                if answered is not None:
                    span.describe(answered)
                if seen.error is not None:
                    span.fail(seen.error.code, seen.error.status)
                if self._log is not None:
                    self._log.write(_entry(seen, request_id, answered))

    def _count(self, seen: Seen) -> None:
        model, kind = seen.model or UNKNOWN, seen.traffic_class
        self._recorder.inc(metrics.REQUESTS, 1, model, kind, str(seen.status))
        if seen.error is not None:
            self._recorder.inc(metrics.REJECTIONS, 1, seen.error.code)
        if seen.answer is not None:
            self._recorder.observe(metrics.REQUEST_SECONDS, time.perf_counter() - seen.started, model, kind)
            self._recorder.inc(metrics.TEXTS, len(seen.answer.vectors), model, kind)
            self._recorder.inc(metrics.TOKENS, seen.answer.tokens, model, kind)


def _entry(seen: Seen, request_id: str, answered: Answered | None) -> AccessEntry:
    seconds = time.perf_counter() - seen.started
    code = seen.error.code if seen.error is not None else None
    return AccessEntry(request_id, seen.key_id, "POST", PATH, seen.status, seconds, code, answered)


def _answered(seen: Seen) -> Answered | None:
    if seen.answer is None or seen.wanted is None:
        return None
    return Answered(
        requested_model=seen.wanted.model,
        model=seen.answer.model,
        traffic_class=seen.traffic_class,
        texts=len(seen.answer.vectors),
        cached_texts=seen.answer.cached_texts,
        tokens=seen.answer.tokens,
        dimensions=seen.answer.vectors.shape[1],
        encoding_format=seen.wanted.encoding_format,
    )
