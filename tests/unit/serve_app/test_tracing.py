"""Spans of requests, as a collector would get them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from serve_app.core.errors import SetupError
from serve_app.settings import ObservabilitySettings
from serve_app.telemetry.otel import OtelTracer
from serve_app.telemetry.tracing import Answered, Headers, NoTracer, Tracer, open_tracer

CANARY = "canary-7f3a"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[Tracer]:
    tracer = OtelTracer(SimpleSpanProcessor(exporter))
    yield tracer
    tracer.close()


ANSWERED = Answered(
    requested_model="qwen3@search",
    model="qwen3",
    traffic_class="interactive",
    texts=3,
    cached_texts=1,
    tokens=120,
    dimensions=256,
    encoding_format="base64",
)


def break_off(tracer: Tracer, headers: Headers, error: BaseException) -> None:
    """A request that is described, and then fails with `error`."""
    with tracer.request(headers, "r") as span:
        span.describe(ANSWERED)
        raise error


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_an_answered_request_is_a_server_span_with_the_conventional_attributes(
    tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    with tracer.request([], "r-1") as span:
        span.describe(ANSWERED)
    done = only(exporter)
    assert (done.name, done.kind, done.parent) == ("embeddings qwen3", SpanKind.SERVER, None)
    assert done.status.status_code is StatusCode.UNSET
    assert attributes(done) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "embed-cluster",
        "gen_ai.request.model": "qwen3@search",
        "gen_ai.response.model": "qwen3",
        "gen_ai.request.encoding_formats": ("base64",),
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.embeddings.dimension.count": 256,
        "embed.class": "interactive",
        "embed.texts": 3,
        "embed.cached_texts": 1,
        "embed.request_id": "r-1",
        "http.response.status_code": 200,
    }


def test_a_traceparent_makes_the_span_a_child_of_the_callers(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    headers = [(b"accept", b"*/*"), (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"tracestate", b"a=b")]
    with tracer.request(headers, "r"):
        pass
    done = only(exporter)
    assert done.parent is not None
    assert (f"{done.parent.trace_id:032x}", f"{done.parent.span_id:016x}") == (TRACE, PARENT)
    assert done.context is not None
    assert f"{done.context.trace_id:032x}" == TRACE


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"00-0-0-01", f"00-{'0' * 32}-{PARENT}-01".encode()])
def test_a_broken_traceparent_starts_a_trace_of_its_own(
    tracer: Tracer, exporter: InMemorySpanExporter, value: bytes
) -> None:
    with tracer.request([(b"traceparent", value)], "r"):
        pass
    assert only(exporter).parent is None


def test_a_span_of_somebody_else_in_this_process_is_no_parent(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with TracerProvider().get_tracer("other").start_as_current_span("other"), tracer.request([], "r"):
        pass
    assert only(exporter).parent is None


def test_a_span_that_the_caller_did_not_sample_is_not_sent(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    with tracer.request([(b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())], "r") as span:
        span.describe(ANSWERED)
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("code", "status", "in_error"),
    [
        ("invalid_value", 400, StatusCode.UNSET),
        ("overloaded", 429, StatusCode.UNSET),
        ("engine_failed", 500, StatusCode.ERROR),
        ("deadline_exceeded", 504, StatusCode.ERROR),
    ],
)
def test_a_refused_request_keeps_its_code_and_only_our_faults_are_errors(
    tracer: Tracer, exporter: InMemorySpanExporter, code: str, status: int, in_error: StatusCode
) -> None:
    with tracer.request([], "r") as span:
        span.fail(code, status)
    done = only(exporter)
    assert done.name == "embeddings"
    assert done.status.status_code is in_error
    assert attributes(done)["error.type"] == code
    assert attributes(done)["http.response.status_code"] == status


@pytest.mark.parametrize(("error", "status"), [(KeyError, 500), (asyncio.CancelledError, 499)])
def test_an_exception_fails_the_span_by_its_type_and_goes_on(
    tracer: Tracer, exporter: InMemorySpanExporter, error: type[BaseException], status: int
) -> None:
    with pytest.raises(error):
        break_off(tracer, [], error("why"))
    done = attributes(only(exporter))
    assert (done["error.type"], done["http.response.status_code"]) == (error.__name__, status)


def test_nothing_of_headers_or_exceptions_is_in_a_span(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    canary = CANARY.encode()
    headers = [
        (b"authorization", b"Bearer " + canary),
        (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()),
        (b"tracestate", b"vendor=" + canary),
        (b"baggage", b"text=" + canary),
        (canary, canary),
    ]
    with pytest.raises(ValueError, match=CANARY):
        break_off(tracer, headers, ValueError(CANARY))
    done = only(exporter)
    assert CANARY not in done.to_json()
    assert done.context is not None
    assert not done.context.trace_state
    assert done.events == ()


def test_two_tracers_in_one_process_share_nothing(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    other = InMemorySpanExporter()
    with OtelTracer(SimpleSpanProcessor(other)).request([], "r"):
        pass
    assert exporter.get_finished_spans() == ()
    assert len(other.get_finished_spans()) == 1


def test_without_a_collector_nothing_is_traced_and_errors_pass() -> None:
    tracer = open_tracer(ObservabilitySettings())
    assert isinstance(tracer, NoTracer)
    tracer.request([], "r").fail("overloaded", 429)
    with pytest.raises(KeyError):
        break_off(tracer, [(b"traceparent", b"x")], KeyError())
    tracer.close()


@pytest.mark.parametrize(
    "missing", ["opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.trace"]
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delitem(sys.modules, "serve_app.telemetry.otel")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SetupError, match=r"opentelemetry.* pip install 'embed-cluster\[otel\]'"):
        open_tracer(ObservabilitySettings(otlp_endpoint="http://localhost:4318"))


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector:4317", "http://", ""])
def test_an_address_that_is_none_stops_the_start(endpoint: str) -> None:
    with pytest.raises(SetupError, match="http://collector:4318"):
        open_tracer(ObservabilitySettings(otlp_endpoint=endpoint))


class Collector(BaseHTTPRequestHandler):
    """Keeps the path and body of each request."""

    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setattr(Collector, "received", [], raising=False)
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "expected"), [("", "/v1/traces"), ("/", "/v1/traces"), ("/otlp/spans", "/otlp/spans")]
)
def test_closing_sends_what_is_left_to_the_collector(collector: HTTPServer, path: str, expected: str) -> None:
    tracer = open_tracer(ObservabilitySettings(otlp_endpoint=f"http://127.0.0.1:{collector.server_port}{path}"))
    with tracer.request([], "r") as span:
        span.describe(ANSWERED)
    assert Collector.received == []
    tracer.close()
    ((path_taken, body),) = Collector.received
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    assert path_taken == expected
    assert [span.name for span in sent.scope_spans[0].spans] == ["embeddings qwen3"]
    assert ("service.name", "embed-cluster") in [(a.key, a.value.string_value) for a in sent.resource.attributes]
