"""The Router: checks a request, tokenises it, sends its texts to the model's replicas, cuts the answer to size."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from serve_app.checkpoint import locate, read_profile
from serve_app.core import dimensions, instructions
from serve_app.core.errors import InputTooLong, InvalidRequest, ModelNotFound, ReplicaUnavailable, TooManyInputs
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds, Vectors
from serve_app.dispatcher import SliceDispatcher
from serve_app.http import HttpSurface
from serve_app.schemas import EmbeddingRequest, is_text
from serve_app.settings import AppSettings, LimitSettings, ModelSettings
from serve_app.slice_client import EmbedderHandle, slice_sender
from serve_app.tokenizer import TextTokenizer

READY_PROBE_S = 5.0
INLINE_CHARACTERS = 500  # about 0.1 ms of tokenising: less than the two thread switches that would take it off the loop


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Everything the Router holds for one served model."""

    profile: ModelProfile
    tokenizer: TextTokenizer
    dispatcher: SliceDispatcher
    handle: EmbedderHandle


class Router:
    """One Router process. It keeps no state between requests."""

    def __init__(self, settings: AppSettings, handles: dict[str, EmbedderHandle]) -> None:
        self._limits = settings.limits
        self._routes = {m.served_name: _open(m, settings.limits, handles[m.served_name]) for m in settings.models}
        self._tokenizers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="tokenizer")

    def __serve_build_asgi_app__(self) -> HttpSurface:
        """Serve calls this once, after the constructor."""
        return HttpSurface(self, self._limits.max_body_mib * 2**20)

    @property
    def profiles(self) -> list[ModelProfile]:
        return [route.profile for route in self._routes.values()]

    def route(self, model: str) -> ModelRoute:
        """Raises ModelNotFound, naming the models there are."""
        try:
            return self._routes[model]
        except KeyError:
            served = ", ".join(self._routes)
            raise ModelNotFound(f"`model` is not served here; served: {served}.", param="model") from None

    async def embed(self, request: EmbeddingRequest) -> tuple[Vectors, int]:
        """(vectors of the requested size, prompt tokens). Raises RequestError, before any work if it can."""
        route = self.route(request.model)
        size = dimensions.check(route.profile, request.dimensions)
        prefix = instructions.prefix(route.profile, request.effective_input_type, request.instruction)
        texts = await self._token_ids(route, request, prefix)
        longest = max(len(text) for text in texts)
        if longest > route.profile.max_tokens:
            raise InputTooLong(
                f"An input has {longest} tokens; {route.profile.name} takes at most {route.profile.max_tokens}: "
                "split or shorten it.",
                param="input",
            )
        vectors = await route.dispatcher.embed(texts, self._limits.request_timeout_s)
        return dimensions.cut(vectors, size), sum(len(text) for text in texts)

    async def check_ready(self) -> None:
        """Every model answers from at least one replica, or ReplicaUnavailable."""
        for route in self._routes.values():
            try:
                async with asyncio.timeout(READY_PROBE_S):
                    await route.handle.describe.remote()
            except (RayError, RayServeException, TimeoutError):
                raise ReplicaUnavailable(f"{route.profile.name} has no ready replica yet.", retry_after_s=1.0) from None

    async def _token_ids(self, route: ModelRoute, request: EmbeddingRequest, prefix: str) -> list[TokenIds]:
        given = request.texts
        _check_inputs(given, self._limits.max_inputs)
        if is_text(given):
            if len(prefix) * len(given) + sum(map(len, given)) <= INLINE_CHARACTERS:
                return route.tokenizer.encode(given, prefix)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._tokenizers, route.tokenizer.encode, given, prefix)
        if prefix:
            raise InvalidRequest(
                "`input` as token ids cannot be a query: the instruction is text. Send the text, or put the "
                "instruction's tokens into `input` and leave out `input_type` and `instruction`.",
                param="input",
            )
        return [_checked_ids(route, ids) for ids in given]


def _check_inputs(given: list[str] | list[list[int]], limit: int) -> None:
    if not given:
        raise InvalidRequest("`input` is an empty list: send at least one text.", param="input")
    if len(given) > limit:
        raise TooManyInputs(
            f"`input` has {len(given)} items; the limit is {limit}: send several requests.", param="input"
        )
    for index, item in enumerate(given):
        if not item:
            raise InvalidRequest(
                f"`input` is empty at index {index}: every text needs at least one token.", param="input"
            )


def _checked_ids(route: ModelRoute, ids: list[int]) -> TokenIds:
    if max(ids) >= route.profile.vocab_size:
        raise InvalidRequest(
            f"`input` has a token id outside the vocabulary: ids go from 0 to {route.profile.vocab_size - 1}.",
            param="input",
        )
    return route.tokenizer.finish(np.array(ids, dtype=np.int32))


def _open(model: ModelSettings, limits: LimitSettings, handle: EmbedderHandle) -> ModelRoute:
    profile = read_profile(model, locate(model.path, weights=False))
    dispatcher = SliceDispatcher(slice_sender(handle), limits, model.replicas)
    return ModelRoute(profile, TextTokenizer(profile), dispatcher, handle)
