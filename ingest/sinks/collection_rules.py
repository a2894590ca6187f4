"""What every store asks of a collection before it touches it: a usable name, and vectors of the right kind."""

from __future__ import annotations

import re

from ingest.sinks.base import CollectionSpec
from serve_app.core.errors import SetupError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_name(name: str, store: str, longest: int) -> None:
    """SetupError unless the name is one that the store can give to a collection or an alias."""
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise SetupError(
            f"{store} cannot name a collection `{name}`: use letters, digits and _, "
            f"at most {longest} of them and no digit first."
        )


def check_spec(spec: CollectionSpec, known: CollectionSpec | None) -> None:
    """SetupError if the collection was made for something else than `spec`."""
    if known == spec:
        return
    raise SetupError(
        f"Collection `{spec.name}` was made for {_described(known, spec)}; these vectors are of "
        f"{_described(spec, known)}. Choose another collection, or replace this one with --recreate."
    )


def missing(collection: str, place: str) -> SetupError:
    return SetupError(f"There is no collection `{collection}` in {place}; ingest into it first.")


def is_alias(alias: str, target: str) -> SetupError:
    return SetupError(f"`{alias}` is an alias of collection `{target}`; name the collection itself here.")


def has_own_name(alias: str, place: str) -> SetupError:
    return SetupError(f"`{alias}` cannot become an alias, as {place} has a collection of that name; drop it first.")


def _described(spec: CollectionSpec | None, other: CollectionSpec | None) -> str:
    if spec is None:
        return "something else, as it names no embedding model"
    differs = other is not None and spec.fingerprint != other.fingerprint
    pipeline = f", by the pipeline with fingerprint {spec.fingerprint or '(none)'}" if differs else ""
    return f"{spec.model}, {spec.dimensions} dimensions{pipeline}"
