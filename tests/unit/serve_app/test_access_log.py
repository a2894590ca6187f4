"""The request log and the ids in it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.settings import ObservabilitySettings
from serve_app.telemetry.access_log import LOGGER, AccessEntry, open_access_log, request_id_from
from serve_app.telemetry.tracing import Answered

ANSWERED = AccessEntry(
    request_id="r-1",
    key_id="k1",
    method="POST",
    path="/v1/embeddings",
    status=200,
    seconds=0.01234567,
    code=None,
    answered=Answered("qwen3@search", "qwen3", "bulk", 3, 1, 120, 256, "base64"),
)
REFUSED = AccessEntry("r-2", None, "GET", "/v1/models/{model}", 404, 0.0005, "model_not_found", None)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The product's logger, left as it was found."""
    logger = logging.getLogger(LOGGER)
    before = logger.level, logger.propagate, list(logger.handlers)
    yield logger
    logger.level, logger.propagate, logger.handlers = before


def test_a_request_is_one_line_with_always_the_same_fields(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    log = open_access_log(ObservabilitySettings(access_log=True))
    assert log is not None
    log.write(ANSWERED)
    log.write(REFUSED)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert abs(datetime.fromisoformat(first.pop("time")) - datetime.now(UTC)).total_seconds() < 60
    assert first == {
        "request_id": "r-1",
        "key_id": "k1",
        "method": "POST",
        "path": "/v1/embeddings",
        "status": 200,
        "model": "qwen3",
        "class": "bulk",
        "texts": 3,
        "tokens": 120,
        "dimensions": 256,
        "cached": 1,
        "ms": 12.346,
        "code": None,
    }
    assert list(second) == ["time", *first]
    assert (second["status"], second["model"], second["code"]) == (404, None, "model_not_found")


def test_a_line_break_in_a_field_cannot_forge_a_line(logger: logging.Logger) -> None:
    stream = io.StringIO()
    logger.addHandler(logging.StreamHandler(stream))
    log = open_access_log(ObservabilitySettings(access_log=True))
    assert log is not None
    log.write(replace(ANSWERED, key_id="a\nb%s"))
    assert json.loads(stream.getvalue())["key_id"] == "a\nb%s"
    assert stream.getvalue().count("\n") == 1


def test_lines_go_to_the_processs_standard_output_once_even_if_opened_twice(
    logger: logging.Logger, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # Serve puts something of its own there, too
    open_access_log(ObservabilitySettings(access_log=True))
    log = open_access_log(ObservabilitySettings(access_log=True))
    assert log is not None
    log.write(ANSWERED)
    assert capfd.readouterr().out.count("\n") == 1


def test_it_is_off_unless_asked_for(logger: logging.Logger) -> None:
    assert open_access_log(ObservabilitySettings()) is None
    assert logger.handlers == []


@given(st.from_regex(rb"[A-Za-z0-9._-]{1,128}", fullmatch=True))
def test_a_harmless_id_of_the_clients_is_taken(given: bytes) -> None:
    assert request_id_from([(b"accept", b"x"), (b"x-request-id", given)]) == given.decode()


@pytest.mark.parametrize("given", [b"", b"a" * 129, b"a b", b"a\n", b"\xc3\xa9", b'{"a":1}', b"a/b", b"a\r\nx: y"])
def test_any_other_id_is_replaced_by_a_random_one(given: bytes) -> None:
    made = request_id_from([(b"x-request-id", given)])
    assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_requests_without_an_id_get_different_ones() -> None:
    assert len({request_id_from([]) for _ in range(100)}) == 100
