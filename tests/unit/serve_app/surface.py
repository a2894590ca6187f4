"""The Router and its HTTP surface over replicas that answer in this process: everything but Serve and the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np

from serve_app.core.profile import ModelProfile
from serve_app.core.types import Slice, SliceAnswer
from serve_app.dispatch.slice_client import EmbedderHandle
from serve_app.http.surface import HttpSurface
from serve_app.router import Router
from serve_app.settings import AppSettings, AuthSettings, LimitSettings, LiveSettings, ModelSettings, RouterSettings
from tests.engines.deterministic import unit_vector
from tests.unit.serve_app.checkpoints import qwen3_checkpoint
from tests.unit.serve_app.profiles import QWEN3

DIMENSIONS = 1024  # what the checkpoint says
Reply = Callable[[Slice], Awaitable[SliceAnswer]]


async def answer(slice_: Slice) -> SliceAnswer:
    """What a healthy replica gives back."""
    texts = [slice_.ids[slice_.offsets[row] : slice_.offsets[row + 1]] for row in range(slice_.texts)]
    return SliceAnswer(np.stack([unit_vector(ids, DIMENSIONS) for ids in texts]), QWEN3.fingerprint, 10_000.0)


class Method:
    def __init__(self, function: Callable[..., Awaitable[Any]]) -> None:
        self.remote = function


class FakeHandle:
    """As much of a DeploymentHandle as the Router uses; `slices` are all it was sent."""

    def __init__(self, reply: Reply = answer) -> None:
        self.slices: list[Slice] = []
        self._reply = reply
        self.embed, self.describe = Method(self._embed), Method(self._describe)

    def options(self, **_: str) -> FakeHandle:
        return self

    async def _embed(self, slice_: Slice) -> SliceAnswer:
        self.slices.append(slice_)
        return await self._reply(slice_)

    async def _describe(self) -> ModelProfile:
        return QWEN3


def settings(directory: Path, keys_file: Path | None = None, **router: Any) -> AppSettings:
    model = ModelSettings(path=str(qwen3_checkpoint(directory)), name="qwen3", aliases=("text-embedding-3-small",))
    return AppSettings(
        models=(model,),
        router=RouterSettings.model_validate(router),
        auth=AuthSettings(keys_file=str(keys_file) if keys_file is not None else None),
        live=LiveSettings(
            presets={"contracts": "Find the clause"},
            limits=LimitSettings(max_request_tokens=2000, max_body_mib=1, request_timeout_s=5),
        ),
    )


def surface(settings: AppSettings, handle: FakeHandle) -> HttpSurface:
    return Router(settings, {"qwen3": cast(EmbedderHandle, handle)}).__serve_build_asgi_app__()


def send(app: HttpSurface, method: str, path: str, **request: Any) -> httpx.Response:
    """One request over ASGI, on an event loop of its own."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(run())


def embed(app: HttpSurface, headers: Any = None, **fields: Any) -> httpx.Response:
    body = {"model": "qwen3", "input": "late delivery", **fields}
    return send(app, "POST", "/v1/embeddings", json=body, headers=headers)
