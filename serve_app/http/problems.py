"""The one place that turns an error into a response."""

from __future__ import annotations

import logging
import math
from traceback import format_tb

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serve_app.core.errors import DeadlineExceeded, MethodNotAllowed, RequestError, RouteNotFound, Unauthorized

log = logging.getLogger("ray.serve")
JSON = "application/json"


def to_request_error(error: Exception) -> RequestError:
    """What a caller may know about any failure; everything else stays in the log."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            return MethodNotAllowed("This address does not take that method; see /docs.")
        return RouteNotFound("There is nothing at this address; see /docs.")
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("The request took longer than the limit: send fewer inputs or try again.")
    return RequestError("Internal error.")


def error_response(error: Exception) -> Response:
    """What went wrong inside is logged by its kind and place: its message may quote a text."""
    known = to_request_error(error)
    if known.status == 500:
        log.error("request failed: %s\n%s", type(error).__name__, "".join(format_tb(error.__traceback__)))
    headers = {}
    if known.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(known.retry_after_s)))
    if isinstance(known, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(known.body()), known.status, headers, JSON)


async def answer_error(_: Request, error: Exception) -> Response:
    """As a handler of exceptions, for Starlette."""
    return error_response(error)
