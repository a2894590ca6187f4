"""What an answer of the endpoint other than 200 means."""

from __future__ import annotations

import math

import httpx
import orjson

from serve_app.core.errors import (
    DeadlineExceeded,
    EmbedError,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    ReplicaUnavailable,
    SetupError,
)


def refusal(answer: httpx.Response) -> EmbedError:
    """The error that an answer other than 200 stands for, with the server's own message.

    A 5xx without the product's JSON is of a proxy that reaches no Router.
    """
    told = _reason(answer)
    message = f"The cluster refused: {told or f'HTTP {answer.status_code}'}"
    status, wait_s = answer.status_code, retry_after_s(answer)
    if status == 429:
        return Overloaded(message, retry_after_s=wait_s)
    if status == 504:
        return DeadlineExceeded(message, retry_after_s=wait_s)
    if status == 503 or (status >= 500 and told is None):
        return ReplicaUnavailable(message, retry_after_s=wait_s)
    if status >= 500:
        return EngineFailed(message)
    if status in (401, 403):
        message = (
            f"{message} The key is taken from the environment variable EMBED_API_KEY, or the one that --key-env names."
        )
    return InvalidRequest(message) if status in (400, 413) else SetupError(message)


def _reason(answer: httpx.Response) -> str | None:
    try:
        return str(orjson.loads(answer.content)["error"]["message"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None


def retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds; None without the header, and for the dates that some proxies write into it."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
