"""The served models by every name a request may use, with what the Router holds for each."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core.errors import ModelNotFound
from serve_app.core.instructions import PRESET_MARK
from serve_app.core.profile import ModelProfile
from serve_app.dispatch.availability import Describe
from serve_app.dispatch.vector_source import VectorSource
from serve_app.model.checkpoint import locate, read_profile
from serve_app.model.tokenizer import TextTokenizer
from serve_app.settings import ModelSettings


@dataclass(slots=True)
class ModelRoute:
    """Everything the Router holds for one served model.

    `profile` is this process's reading of the checkpoint until a replica has described itself: only there are the
    weights, and so the fingerprint, certainly at hand.
    """

    profile: ModelProfile
    aliases: tuple[str, ...]
    tokenizer: TextTokenizer
    source: VectorSource
    read_profile: Describe

    async def describe(self) -> None:
        """Take over the profile as a replica sees it. Raises RequestError, or hangs while there is no replica."""
        self.profile = await self.read_profile()


def open_route(model: ModelSettings, source: VectorSource, describe: Describe) -> ModelRoute:
    """Raises SetupError if the checkpoint cannot be read."""
    profile = read_profile(model, locate(model.path, weights=False))
    return ModelRoute(profile, model.aliases, TextTokenizer(profile), source, describe)


class Catalog:
    """Finds a model by its name or an alias, with or without `@preset`."""

    def __init__(self, routes: list[ModelRoute]) -> None:
        self.routes = routes
        self._by_name = {name: route for route in routes for name in (route.profile.name, *route.aliases)}

    def served_name(self, model: str) -> str | None:
        """The name of the model that `model` means, None if there is none: fit for a metric's label, unlike `model`."""
        route = self._by_name.get(model.partition(PRESET_MARK)[0])
        return route.profile.name if route is not None else None

    def find(self, model: str) -> tuple[ModelRoute, str | None]:
        """(route, name of the preset behind the `@`). Raises ModelNotFound, naming the models there are."""
        name, mark, preset = model.partition(PRESET_MARK)
        route = self._by_name.get(name)
        if route is None:
            raise ModelNotFound(f"`model` is not served here; served: {', '.join(self._by_name)}.", param="model")
        return route, preset if mark else None
