"""The HTTP surface: routes, who may use them, and bytes in and out. It computes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.core.errors import ClientGone, MethodNotAllowed, RequestError
from serve_app.dispatch.vector_source import CacheMode
from serve_app.http.body import BodyBudget, Headers, read_body, while_connected
from serve_app.http.docs_page import CONTENT_POLICY, docs_page
from serve_app.http.keys import Scope as KeyScope
from serve_app.http.observer import RequestObserver, Seen
from serve_app.http.openapi import openapi_document
from serve_app.http.problems import JSON, answer_crash, answer_error, error_response, log_failure, to_request_error
from serve_app.http.responses import Encoding, encode_response, encode_tokens
from serve_app.http.schemas import EmbeddingRequest, TokenizeRequest, parse_request
from serve_app.settings import LimitSettings
from serve_app.telemetry.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from serve_app.router import Answer, Router

EMBEDDINGS = ("/v1/embeddings", "/embeddings")  # the second is where clients look whose base URL ends at the port
TITLE, API_VERSION = "Embedding cluster", "1"
INLINE_NUMBERS = 500_000  # encoding more would keep other requests waiting for more than a few milliseconds
Handler = Callable[[Request], Awaitable[Response]]

# Who may call what; None: anybody. The tests hold every route against this table.
SCOPES: dict[str, KeyScope | None] = {
    **dict.fromkeys(EMBEDDINGS, "embed"),
    "/v1/tokenize": "embed",
    "/v1/models": "embed",
    "/v1/models/{model:path}": "embed",
    "/metrics": "admin",
    "/health": None,
    "/ready": None,
    "/docs": None,
    "/openapi.json": None,
}


class HttpSurface:
    """The ASGI application of one Router replica.

    POST /v1/embeddings is served right here, below any framework: at one short text a request, FastAPI's layers would
    cost more than the parsing, tokenising and encoding together. Everything else goes through FastAPI.
    """

    def __init__(self, router: Router) -> None:
        settings = router.settings
        self._router = router
        self._budget = BodyBudget()
        self._observer = RequestObserver(router.recorder, settings.observability)
        self._encoders = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._rest = self._build_rest()
        self._hot = ServerErrorMiddleware(self._embeddings, handler=answer_crash)
        # Serve names the routes in its own metrics by these.
        self.routes: list[BaseRoute] = [
            *(Route(path, self._embeddings, methods=["POST"]) for path in EMBEDDINGS),
            *self._rest.routes,
        ]
        self._entry: ASGIApp = self._dispatch
        if settings.router.cors_origins:
            self._entry = CORSMiddleware(
                self._dispatch,
                allow_origins=settings.router.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "cache-control", "content-type", "x-request-id"],
                expose_headers=["retry-after", "x-request-id"],
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._entry(scope, receive, send)
        except Exception as error:  # noqa: BLE001 -- answered, or too late for that; Serve would log what it says
            log_failure(error)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in EMBEDDINGS:
            await self._hot(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = dict(scope["headers"])
        limits = self._router.limits
        with self._observer.request(headers) as seen:
            try:
                seen.key_id = self._authorize(headers, "embed")
                with self._budget.hold(headers, limits.max_body_bytes, limits.max_buffered_bytes):
                    body = await self._answer(seen, scope, receive, limits)
            except (RequestError, TimeoutError) as error:
                seen.error = to_request_error(error)
                await error_response(error)(scope, receive, send)
                return
            except asyncio.CancelledError:
                seen.error = ClientGone("The client left before its answer was ready.")
                raise
        start = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-embed-config", seen.answer.live_version.encode() if seen.answer is not None else b""),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, seen: Seen, scope: Scope, receive: Receive, limits: LimitSettings) -> bytes:
        """The body of the answer. Raises RequestError or TimeoutError."""
        headers: Headers = dict(scope["headers"])
        deadline = asyncio.get_running_loop().time() + limits.request_timeout_s
        async with asyncio.timeout_at(deadline):
            given = await read_body(headers, receive, limits.max_body_bytes)
        seen.started = time.perf_counter()
        wanted = parse_request(given, EmbeddingRequest)
        seen.wanted, seen.model = wanted, self._router.catalog.served_name(wanted.model)
        encoding = Encoding.of(wanted)
        work = self._router.embed(wanted, _cache_mode(scope["headers"]), deadline)
        answer = await while_connected(work, receive)
        body = await self._encode(answer, wanted.model, encoding)
        seen.answer = answer  # not sooner: what cannot be written was not answered
        return body

    async def _encode(self, answer: Answer, model: str, encoding: Encoding) -> bytes:
        if answer.vectors.size <= INLINE_NUMBERS:
            return encode_response(answer.vectors, model, encoding, answer.tokens)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._encoders, encode_response, answer.vectors, model, encoding, answer.tokens
        )

    def _authorize(self, headers: Headers, scope: KeyScope | None) -> str | None:
        """The id of the caller's key, None where none is asked for. Raises Unauthorized or Forbidden."""
        if self._router.keys is None or scope is None:
            return None
        header = headers.get(b"authorization")
        return self._router.keys.authorize(header.decode("latin-1") if header is not None else None, scope)

    def _build_rest(self) -> FastAPI:
        rest = FastAPI(
            title=TITLE, version=API_VERSION, docs_url=None, redoc_url=None
        )  # its pages load scripts from a CDN
        document = openapi_document(TITLE, API_VERSION)
        rest.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way to bring one's own
        for path, handler, method in (
            ("/v1/tokenize", self._tokenize, "POST"),
            ("/v1/models", self._models, "GET"),
            ("/v1/models/{model:path}", self._model, "GET"),
            ("/metrics", self._metrics, "GET"),
            ("/health", self._health, "GET"),
            ("/ready", self._ready, "GET"),
            ("/docs", _page(docs_page(document)), "GET"),
        ):
            rest.add_route(path, self._guarded(handler, SCOPES[path]), methods=[method])
        for path in EMBEDDINGS:
            rest.add_route(path, _takes_post)
        for kind in (RequestError, HTTPException, TimeoutError):
            rest.add_exception_handler(kind, answer_error)
        rest.add_exception_handler(Exception, answer_crash)
        return rest

    def _guarded(self, handler: Handler, scope: KeyScope | None) -> Handler:
        async def guarded(request: Request) -> Response:
            self._authorize(dict(request.scope["headers"]), scope)
            return await handler(request)

        return guarded

    async def _tokenize(self, request: Request) -> Response:
        headers, limits = dict(request.scope["headers"]), self._router.limits
        with self._budget.hold(headers, limits.max_body_bytes, limits.max_buffered_bytes):
            async with asyncio.timeout(limits.request_timeout_s):
                body = await read_body(headers, request.receive, limits.max_body_bytes)
                route, texts = await self._router.tokenize(parse_request(body, TokenizeRequest))
            return Response(encode_tokens(texts, route.profile), media_type=JSON)

    async def _models(self, _: Request) -> Response:
        return _json({"object": "list", "data": [card.content() for card in await self._router.cards()]})

    async def _model(self, request: Request) -> Response:
        return _json((await self._router.card(request.path_params["model"])).content())

    async def _metrics(self, _: Request) -> Response:
        return Response(await self._router.scrape(), media_type=CONTENT_TYPE)

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        return _json({"status": "ready", "models": await self._router.check_ready()})


def _page(content: str) -> Handler:
    async def page(_: Request) -> Response:
        return HTMLResponse(content, headers={"Content-Security-Policy": CONTENT_POLICY})

    return page


async def _takes_post(request: Request) -> Response:
    raise MethodNotAllowed(f"{request.url.path} takes POST; see /docs.")


def _cache_mode(headers: list[tuple[bytes, bytes]]) -> CacheMode:
    """HTTP's own words for not wanting a stored answer, nor one's own stored; the header may come repeatedly."""
    for name, value in headers:
        if name == b"cache-control" and any(word in value.lower() for word in (b"no-store", b"no-cache")):
            return "bypass"
    return "use"


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)
