"""What a configuration may not say although every single value is of the right kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cluster import rules_capacity
from serve_app.core.instructions import MAX_INSTRUCTION_CHARACTERS
from serve_app.settings import AuthSettings, LimitSettings, ModelSettings, ObservabilitySettings

if TYPE_CHECKING:
    from cluster.config import ClusterConfig

PRESET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_NAME_CHARACTERS = 128
WEB_SCHEMES = ("http", "https")


def problems(config: ClusterConfig) -> Iterator[str]:
    """Everything that is wrong, each as "`key`: rule; fix" without a full stop."""
    return chain(
        _models(config.models),
        _presets(config.presets),
        _limits(config.limits),
        _auth(config.auth),
        _origins(config.router.cors_origins),
        _observability(config.observability),
        rules_capacity.autoscaling(config.models, config.limits),
        rules_capacity.messages(config.models, config.limits),
        rules_capacity.drain(config.limits, config.kubernetes),
    )


def _models(models: tuple[ModelSettings, ...]) -> Iterator[str]:
    owners: dict[str, str] = {}
    deployments: dict[str, str] = {}
    for index, model in enumerate(models):
        key = f"models.{index}"
        if not model.path.strip():
            yield f"`{key}.path`: it is empty; give a directory or a name on the hub"
        names = [(f"{key}.name", model.served_name)]
        names += [(f"{key}.aliases.{number}", alias) for number, alias in enumerate(model.aliases)]
        for place, name in names:
            yield from _name(place, name)
            if name in owners:
                yield f"`{place}`: `{name}` is also the name of `{owners[name]}`; give each model names of its own"
            owners[name] = place
        if model.deployment in deployments:
            yield (
                f"`{key}.name`: it differs from `{deployments[model.deployment]}` only in characters that Ray Serve "
                "does not tell apart; choose another"
            )
        deployments[model.deployment] = f"{key}.name"
        if model.golden is not None and not model.golden.strip():
            yield f"`{key}.golden`: it is empty; give the file or leave the key out"
        if model.default_instruction is not None:
            yield from _instruction(f"{key}.default_instruction", model.default_instruction)


def _name(key: str, name: str) -> Iterator[str]:
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable() or " " in name or "@" in name:
        yield (
            f"`{key}`: a name in requests has 1 to {MAX_NAME_CHARACTERS} printable characters without spaces and `@` "
            "(`model@preset` names an instruction); set another `name` or alias"
        )


def _presets(presets: dict[str, str]) -> Iterator[str]:
    for name, text in presets.items():
        if not PRESET_NAME.fullmatch(name):
            yield (
                f"`presets.{name}`: a preset's name has 1 to 64 lower-case letters, digits, `-` and `_` "
                "and begins with a letter or digit"
            )
        yield from _instruction(f"presets.{name}", text)


def _instruction(key: str, text: str) -> Iterator[str]:
    if not text.strip():
        yield f"`{key}`: the instruction is empty; say in one sentence what a query is after"
    if len(text) > MAX_INSTRUCTION_CHARACTERS:
        yield f"`{key}`: the instruction has {len(text)} characters; the limit is {MAX_INSTRUCTION_CHARACTERS}"


def _limits(limits: LimitSettings) -> Iterator[str]:
    at_once = limits.slices_per_replica * limits.slice_tokens
    if limits.max_queued_tokens < at_once:
        yield (
            f"`limits.max_queued_tokens`: {limits.max_queued_tokens} is less than the {at_once} tokens that a Router "
            f"has under way for a replica (`slices_per_replica` {limits.slices_per_replica} × `slice_tokens` "
            f"{limits.slice_tokens}), so that a large request alone would be refused; raise it or lower `slice_tokens`"
        )


def _auth(auth: AuthSettings) -> Iterator[str]:
    if auth.keys_file is not None and not auth.keys_file.strip():
        yield "`auth.keys_file`: it is empty; give the file, or leave the key out to ask for no API key"


def _origins(origins: tuple[str, ...]) -> Iterator[str]:
    for index, origin in enumerate(origins):
        if not _is_web_address(origin) or origin != f"{urlsplit(origin).scheme}://{urlsplit(origin).netloc}":
            yield (
                f"`router.cors_origins.{index}`: an origin is a scheme, a host and perhaps a port, as in "
                "https://app.example.com; a wildcard would let every web page in"
            )


def _observability(observability: ObservabilitySettings) -> Iterator[str]:
    endpoint = observability.otlp_endpoint
    if endpoint is not None and not _is_web_address(endpoint):
        yield "`observability.otlp_endpoint`: it is no URL; give one such as http://127.0.0.1:4317"


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises if it is no number
    except ValueError:
        return False
    return parts.scheme in WEB_SCHEMES and bool(parts.hostname) and "*" not in parts.netloc
