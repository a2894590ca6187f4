"""The Router: checks a request, tokenises it, gets its vectors, cuts them to size."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve

from serve_app.core import dimensions, instructions
from serve_app.core.errors import InvalidRequest, ReplicaUnavailable, RequestError
from serve_app.core.replica_count import ReplicaCount
from serve_app.core.types import TokenIds, Vectors
from serve_app.dispatch.availability import ASSUMED_START_S, ReplicaGate
from serve_app.dispatch.dispatcher import SliceDispatcher
from serve_app.dispatch.slice_client import EmbedderHandle, awake_profile_reader, profile_reader, slice_sender
from serve_app.dispatch.vector_source import CacheMode, VectorSource
from serve_app.http.keys import KeyRing
from serve_app.http.responses import ModelCard
from serve_app.http.schemas import PRIORITIES, EmbeddingRequest, TextRequest, TokenizeRequest, is_text
from serve_app.http.surface import HttpSurface
from serve_app.model.catalog import Catalog, ModelRoute, open_route
from serve_app.model.inputs import INLINE_CHARACTERS, InputReader
from serve_app.model.tokenizer import EXCERPT_CHARACTERS
from serve_app.settings import AppSettings, LimitSettings, LiveSettings, ModelSettings
from serve_app.telemetry.ray_metrics import RayMetrics
from serve_app.telemetry.recorder import Recorder
from serve_app.telemetry.scrape import gather

READY_PROBE_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The vectors of one request, and what is worth knowing about how they came to be."""

    vectors: Vectors  # (inputs, requested dimensions)
    tokens: int
    cached_texts: int
    model: str  # served name
    live_version: str


class Router:
    """One Router process. Requests share its cache and its slices, and nothing else."""

    def __init__(self, settings: AppSettings, handles: dict[str, EmbedderHandle]) -> None:
        self.settings = settings
        self.recorder = Recorder(RayMetrics())
        self.keys = KeyRing(Path(settings.auth.keys_file)) if settings.auth.keys_file is not None else None
        self._live = (settings.live, settings.live.version)
        self._handles = handles
        self._dispatchers: list[SliceDispatcher] = []
        self.catalog = Catalog([self._open(model, handles[model.served_name]) for model in settings.models])
        self._inputs = InputReader(takes_ids=settings.router.raw_token_ids == "accept")  # noqa: S105

    @property
    def limits(self) -> LimitSettings:
        """As they are now."""
        return self._live[0].limits

    def __serve_build_asgi_app__(self) -> HttpSurface:
        """Serve calls this once, after the constructor."""
        return HttpSurface(self)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Serve calls this at the start and whenever the live settings change; requests under way keep the old ones.

        Not in a thread, as it would if this were no coroutine: queues are being counted anew.
        """
        live = LiveSettings.model_validate(user_config)
        self._live = (live, live.version)
        for model, dispatcher in zip(self.settings.models, self._dispatchers, strict=True):
            dispatcher.set_limits(live.limits.of_engine(model.gpus_per_replica > 0))

    async def running_settings(self) -> str:
        """What this Router was built from and told since, as JSON: `embedctl deploy` goes back to it if it must."""
        return self.settings.model_copy(update={"live": self._live[0]}).model_dump_json()

    async def embed(self, request: EmbeddingRequest, cache_mode: CacheMode, deadline: float) -> Answer:
        """`deadline` is on the event loop's clock. Raises RequestError, before any work if it can, or TimeoutError."""
        live, version = self._live
        route, prefix = self._reading(request, live)
        size = dimensions.check(route.profile, request.dimensions)
        texts = await self._token_ids(route, request, prefix, live.limits, deadline)
        timeout_s = deadline - asyncio.get_running_loop().time()
        embedded = await route.source.embed(texts, PRIORITIES[request.priority], timeout_s, cache_mode)
        vectors = dimensions.cut(embedded.vectors, size)
        return Answer(vectors, sum(map(len, texts)), len(texts) - embedded.computed_texts, route.profile.name, version)

    async def tokenize(self, request: TokenizeRequest) -> tuple[ModelRoute, list[TokenIds]]:
        """The token ids that `embed` would compute, however long they are."""
        live = self._live[0]
        route, prefix = self._reading(request, live)
        return route, await self._inputs.whole_texts(route.tokenizer, request.texts, prefix, live.limits)

    async def cards(self) -> list[ModelCard]:
        return list(await asyncio.gather(*map(self._card, self.catalog.routes)))

    async def card(self, model: str) -> ModelCard:
        """Raises ModelNotFound."""
        return await self._card(self.catalog.find(model)[0])

    async def check_ready(self) -> list[str]:
        """The names of the models; raises ReplicaUnavailable unless each answers from at least one replica.

        A model that may sleep is always ready: a request wakes it, and this must not.
        """
        sleepers = {model.served_name for model in self.settings.models if _may_sleep(model)}
        for route in self.catalog.routes:
            if route.profile.name not in sleepers:
                await self._describe(route)
        return [route.profile.name for route in self.catalog.routes]

    async def check_health(self) -> None:
        """Serve calls this every few seconds, also while nothing happens: the last gauges must reach Ray's metrics."""
        self.recorder.flush()

    async def metrics(self) -> tuple[str, bytes]:
        """(replica, its series); every Router asks for those of all others."""
        return serve.get_replica_context().replica_id.unique_id, self.recorder.samples()

    async def scrape(self) -> bytes:
        """The samples of every process of the application as one exposition."""
        me = serve.get_replica_context()
        routers: EmbedderHandle = serve.get_deployment_handle(me.deployment, app_name=me.app_name)
        sleepers = [model.deployment for model in self.settings.models if _may_sleep(model)]
        return await gather([routers, *self._handles.values()], me.replica_id.unique_id, sleepers)

    def _open(self, model: ModelSettings, handle: EmbedderHandle) -> ModelRoute:
        scaling = model.autoscaling
        start_s = scaling.cold_start_s if scaling is not None else ASSUMED_START_S
        gate = ReplicaGate(profile_reader(handle), model.served_name, _may_sleep(model), start_s)
        limits = self.limits.of_engine(model.gpus_per_replica > 0)
        dispatcher = SliceDispatcher(slice_sender(handle), gate, limits, _replica_count(model), self.recorder)
        self._dispatchers.append(dispatcher)
        cache_bytes = self.settings.router.cache_mib * 2**20 // len(self.settings.models)
        source = VectorSource(dispatcher, cache_bytes, model.served_name, self.recorder)
        return open_route(model, source, (awake_profile_reader if _may_sleep(model) else profile_reader)(handle))

    async def _card(self, route: ModelRoute) -> ModelCard:
        """As a replica describes the model, or as it was known last if none answers."""
        with suppress(ReplicaUnavailable):
            await self._describe(route)
        return ModelCard(route.profile, route.aliases, tuple(sorted(self._live[0].presets)))

    def _reading(self, request: TextRequest, live: LiveSettings) -> tuple[ModelRoute, str]:
        """(the model, the text that goes before every input)."""
        route, preset = self.catalog.find(request.model)
        wish = instructions.resolve(live.presets, preset, request.input_type, request.instruction)
        return route, instructions.prefix(route.profile, wish.input_type, wish.instruction)

    async def _describe(self, route: ModelRoute) -> None:
        try:
            async with asyncio.timeout(READY_PROBE_S):
                await route.describe()
        except (RequestError, TimeoutError):
            raise ReplicaUnavailable(f"{route.profile.name} has no ready replica yet.", retry_after_s=1.0) from None

    async def _token_ids(
        self, route: ModelRoute, request: EmbeddingRequest, prefix: str, limits: LimitSettings, deadline: float
    ) -> list[TokenIds]:
        given = request.texts
        if is_text(given):
            characters = sum(map(len, given))
            if characters > INLINE_CHARACTERS:  # tokenising it would take time from those that were let in
                left_s = deadline - asyncio.get_running_loop().time()
                tokens = max(len(given), characters // EXCERPT_CHARACTERS)  # it has hardly fewer
                route.source.check_room(PRIORITIES[request.priority], len(given), tokens, left_s)
            async with asyncio.timeout_at(deadline):
                return await self._inputs.texts(route.tokenizer, given, prefix, request.truncate, limits)
        if prefix:
            raise InvalidRequest(
                "`input` as token ids cannot be a query: the instruction is text. Send the text, or put the "
                "instruction's tokens into `input` and leave out `input_type` and `instruction`.",
                param="input",
            )
        return self._inputs.ids(route.profile, route.tokenizer, given, request.truncate, limits)


def _may_sleep(model: ModelSettings) -> bool:
    """Whether it is all right that no replica runs."""
    return model.autoscaling is not None and model.autoscaling.min_replicas == 0


def _replica_count(model: ModelSettings) -> ReplicaCount:
    least = model.replicas if model.autoscaling is None else max(1, model.autoscaling.min_replicas)
    return ReplicaCount(least, model.most_replicas)
