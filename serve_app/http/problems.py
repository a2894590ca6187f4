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
    """For an error that ends here: what went wrong inside is logged."""
    if to_request_error(error).status == 500:
        log_failure(error)
    return _response(error)


def log_failure(error: Exception) -> None:
    log.error("request failed: %s", _kind_and_place(error))


def _kind_and_place(error: BaseException) -> str:
    """Of it and, before that, of what it came from. Never a message: that may quote a text."""
    chain: list[BaseException] = []
    before: BaseException | None = error
    while before is not None and before not in chain:  # an error that crossed a process may be its own cause
        chain.insert(0, before)
        before = before.__cause__ or (None if before.__suppress_context__ else before.__context__)
    return "and then ".join(f"{type(one).__name__}\n{''.join(format_tb(one.__traceback__))}" for one in chain)


def _response(error: Exception) -> Response:
    known = to_request_error(error)
    headers = {}
    if known.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(known.retry_after_s)))
    if isinstance(known, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(known.body()), known.status, headers, JSON)


async def answer_error(_: Request, error: Exception) -> Response:
    """As a handler of exceptions that end here, for Starlette."""
    return error_response(error)


async def answer_crash(_: Request, error: Exception) -> Response:
    """As Starlette's handler of all others. It raises them again, so that whoever called it all can log them."""
    return _response(error)
