"""The HTTP surface: routes, and the one place that turns an error into a response. It computes nothing."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from serve_app.core.errors import (
    BodyTooLarge,
    ClientGone,
    DeadlineExceeded,
    MethodNotAllowed,
    RequestError,
    RouteNotFound,
    UnsupportedBody,
)
from serve_app.openapi import openapi_document
from serve_app.schemas import encode_response, model_card, parse_request

if TYPE_CHECKING:
    from serve_app.router import Router

log = logging.getLogger("ray.serve")
JSON = "application/json"
EMBEDDINGS = "/v1/embeddings"
TITLE, API_VERSION = "Embedding cluster", "1"


class HttpSurface:
    """The ASGI application of one Router replica.

    POST /v1/embeddings is served right here, below any framework: at one short text a request, FastAPI's layers would
    cost more than the parsing, tokenising and encoding together. Everything else goes through FastAPI.
    """

    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes
        self._rest = _build_rest(router)
        self._hot = ServerErrorMiddleware(self._embeddings, handler=_answer_error)
        # Serve names the routes in its own metrics by these.
        self.routes: list[BaseRoute] = [Route(EMBEDDINGS, self._embeddings, methods=["POST"]), *self._rest.routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == EMBEDDINGS and scope["method"] == "POST":
            await self._hot(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            wanted = parse_request(await _read_body(scope, receive, self._max_body_bytes))
            vectors, tokens = await self._router.embed(wanted)
        except (RequestError, TimeoutError) as error:
            await _error_response(error)(scope, receive, send)
            return
        body = encode_response(vectors, wanted.model, wanted.encoding_format, tokens)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _build_rest(router: Router) -> FastAPI:
    http = FastAPI(title=TITLE, version=API_VERSION, docs_url="/docs", redoc_url=None)
    document = openapi_document(TITLE, API_VERSION)
    http.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way to bring one's own

    async def models(_: Request) -> Response:
        return _json({"object": "list", "data": [model_card(profile) for profile in router.profiles]})

    async def model(request: Request) -> Response:
        return _json(model_card(router.route(request.path_params["model"]).profile))

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    async def ready(_: Request) -> Response:
        await router.check_ready()
        return _json({"status": "ready", "models": [profile.name for profile in router.profiles]})

    async def embeddings(_: Request) -> Response:
        raise MethodNotAllowed(f"{EMBEDDINGS} takes POST; see /docs.")

    http.add_route(EMBEDDINGS, embeddings)
    http.add_route("/v1/models", models, methods=["GET"])
    http.add_route("/v1/models/{model:path}", model, methods=["GET"])
    http.add_route("/health", health, methods=["GET"])
    http.add_route("/ready", ready, methods=["GET"])
    for kind in (RequestError, HTTPException, TimeoutError, Exception):
        http.add_exception_handler(kind, _answer_error)
    return http


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body, refused as soon as it is known to be too large, chunked or not. Raises RequestError."""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value != b"identity":
            raise UnsupportedBody("Compressed bodies are not accepted: send the JSON as it is.")
        if name == b"content-length" and int(value) > limit:  # the server has checked that it is a number
            raise _too_large(limit)
    parts: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        has_more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes: send the inputs in several requests.")


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


async def _answer_error(_: Request, error: Exception) -> Response:
    return _error_response(error)


def _error_response(error: Exception) -> Response:
    known = to_request_error(error)
    if known.status == 500:
        log.error("request failed: %s", type(error).__name__, exc_info=error)
    headers = {}
    if known.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(known.retry_after_s)))
    return Response(orjson.dumps(known.body()), known.status, headers, JSON)


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)
