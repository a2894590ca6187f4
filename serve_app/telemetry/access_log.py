"""One line of JSON a request, if asked for, and the request's id. It never sees a body."""

from __future__ import annotations

import logging
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from serve_app.settings import ObservabilitySettings
from serve_app.telemetry.tracing import Answered, Headers

LOGGER = "embed.access"
REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """What became of one request; None where it did not get that far."""

    request_id: str
    key_id: str | None  # which API key, never the key
    method: str
    path: str  # of the route, as documented: what a client puts into an address may be anything
    status: int
    seconds: float
    code: str | None  # of the error
    answered: Answered | None


class AccessLog:
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, entry: AccessEntry) -> None:
        answered = entry.answered
        fields = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": entry.request_id,
            "key_id": entry.key_id,
            "method": entry.method,
            "path": entry.path,
            "status": entry.status,
            "model": answered and answered.model,
            "class": answered and answered.traffic_class,
            "texts": answered and answered.texts,
            "tokens": answered and answered.tokens,
            "dimensions": answered and answered.dimensions,
            "cached": answered and answered.cached_texts,
            "ms": round(entry.seconds * 1000, 3),
            "code": entry.code,
        }
        self._logger.info("%s", orjson.dumps(fields).decode())


def open_access_log(settings: ObservabilitySettings) -> AccessLog | None:
    """None when it is off. Lines go to the handlers of the logger `embed.access`, or else to standard output."""
    if not settings.access_log:
        return None
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a root handler would dress the line up, or write it twice
    if not logger.handlers:
        # The process's own: Serve puts its log, with lines of another form, in the place of `sys.stdout`.
        logger.addHandler(logging.StreamHandler(sys.__stdout__))
    return AccessLog(logger)


def is_request_id(value: bytes) -> bool:
    """Whether a client's id is harmless to repeat in logs and answers."""
    return _REQUEST_ID.fullmatch(value) is not None


def request_id_from(headers: Headers) -> str:
    """The request's id if there is a harmless one, else 32 random hex digits."""
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            return value.decode() if is_request_id(value) else os.urandom(16).hex()
    return os.urandom(16).hex()
