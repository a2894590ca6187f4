"""What a request leaves behind for tracing, as HTTP code sees it: next to nothing unless a collector is configured.

Spans hold counts, names from the configuration and error codes: never texts, instructions, vectors or keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from serve_app.core.errors import SetupError
from serve_app.settings import ObservabilitySettings

Headers = Iterable[tuple[bytes, bytes]]  # as ASGI gives them: names in lower case


@dataclass(frozen=True, slots=True)
class Answered:
    """What traces and logs may know of a request that got its vectors."""

    requested_model: str  # as the client wrote it: a served name, an alias, or either with a preset
    model: str  # the served name
    traffic_class: str  # "interactive" or "bulk"
    texts: int
    cached_texts: int  # of these, the ones that were not computed for this request
    tokens: int
    dimensions: int
    encoding_format: str


class RequestSpan(Protocol):
    """One request, for as long as a `with` block. An exception that leaves the block fails it, by its type alone."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def describe(self, answered: Answered, /) -> None: ...

    def fail(self, code: str, status: int, /) -> None:
        """The error code and HTTP status of the answer, which is otherwise a 200."""
        ...


class Tracer(Protocol):
    def request(self, headers: Headers, request_id: str, /) -> RequestSpan:
        """A span, below the caller's if `headers` has a valid `traceparent`."""
        ...

    def close(self) -> None:
        """Send what is left, for at most some seconds; it blocks. Spans that end later are lost."""
        ...


class NoSpan:
    """Any request, of which nothing is kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None, /) -> None:
        return None

    def describe(self, _: Answered, /) -> None:
        return None

    def fail(self, _: str, __: int, /) -> None:
        return None


class NoTracer:
    def __init__(self) -> None:
        self._span = NoSpan()

    def request(self, _: Headers, __: str, /) -> NoSpan:
        return self._span

    def close(self) -> None:
        return None


def open_tracer(settings: ObservabilitySettings) -> Tracer:
    """Raises SetupError if the extra `otel` is missing or the collector's address is none."""
    if settings.otlp_endpoint is None:
        return NoTracer()
    try:
        from serve_app.telemetry.otel import open_otel_tracer
    except ModuleNotFoundError as error:
        raise SetupError(
            f"`observability.otlp_endpoint` is set, but {error.name} is not installed: "
            "pip install 'embed-cluster[otel]', or remove the setting."
        ) from error
    return open_otel_tracer(settings.otlp_endpoint)
