"""Spans through OpenTelemetry, by its conventions for HTTP servers and generative AI. Imported only when asked for."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.core.errors import SetupError
from serve_app.telemetry.tracing import Answered, Headers

SERVICE = "embed-cluster"
OPERATION = "embeddings"
TRACES_PATH = "/v1/traces"  # where OTLP over HTTP expects spans
QUEUED_SPANS = 2048  # spans past it are dropped: a slow collector must cost memory and requests nothing
SEND_TIMEOUT_S = 5.0


class OtelSpan:
    def __init__(self, span: Span) -> None:
        self._span = span
        self._status = 200

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None, /) -> None:
        if kind is not None:  # its message and traceback may quote the request, its type cannot
            self.fail(kind.__name__, 500 if issubclass(kind, Exception) else 499)  # cancelled: the client left
        self._span.set_attribute("http.response.status_code", self._status)
        self._span.end()

    def describe(self, answered: Answered, /) -> None:
        self._span.update_name(f"{OPERATION} {answered.model}")
        self._span.set_attributes(
            {
                "gen_ai.request.model": answered.requested_model,
                "gen_ai.response.model": answered.model,
                "gen_ai.request.encoding_formats": (answered.encoding_format,),
                "gen_ai.usage.input_tokens": answered.tokens,
                "gen_ai.embeddings.dimension.count": answered.dimensions,
                "embed.class": answered.traffic_class,
                "embed.texts": answered.texts,
                "embed.cached_texts": answered.cached_texts,
            }
        )

    def fail(self, code: str, status: int, /) -> None:
        self._status = status
        self._span.set_attribute("error.type", code)
        if status >= 500:  # by the conventions, a server's span is in error only for the server's faults
            self._span.set_status(Status(StatusCode.ERROR))


class OtelTracer:
    """Hands every finished span to `processor`."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, headers: Headers, request_id: str, /) -> OtelSpan:
        attributes = {
            "gen_ai.operation.name": OPERATION,
            "gen_ai.provider.name": SERVICE,
            "embed.request_id": request_id,
        }
        return OtelSpan(self._tracer.start_span(OPERATION, self._parent(headers), SpanKind.SERVER, attributes))

    def close(self) -> None:
        self._provider.shutdown()

    def _parent(self, headers: Headers) -> Context:
        # `tracestate` stays behind: it is free text of the caller's
        found = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
        return self._propagator.extract({"traceparent": found}, Context())


def open_otel_tracer(endpoint: str) -> OtelTracer:
    """Sends spans to the collector at `endpoint`, in batches and in the background.

    Raises SetupError for an address that is none.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise SetupError(
            "`observability.otlp_endpoint` is no address of OTLP over HTTP: it looks like http://collector:4318."
        )
    url = endpoint if parts.path.strip("/") else parts._replace(path=TRACES_PATH).geturl()
    exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_TIMEOUT_S)
    return OtelTracer(BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS))
