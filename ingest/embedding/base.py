"""Two ways to the cluster, and what either leads to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import TokenIds

DESCRIBE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class HandleAddress:
    """The replicas of a model, from a process inside their Ray cluster; an empty name means its first model."""

    model: str = ""


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """The cluster's HTTP endpoint, for example http://127.0.0.1:8000, with the API key it wants, if any.

    `model` is a served name or an alias; an empty one means the endpoint's first.
    """

    url: str
    key: str = field(default="", repr=False)
    model: str = ""


Address = HandleAddress | HttpAddress  # picklable: they travel to the actors that use them


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What an address leads to."""

    name: str  # served name, whatever the address calls it
    native_dimensions: int
    min_dimensions: int
    max_tokens: int  # of one text
    fingerprint: str  # of weights, tokenizer, pooling and dtype: vectors of another one never mix with these
    profile: ModelProfile | None = None  # where the checkpoint lies on this cluster's machines; None over HTTP

    def size(self, dimensions: int | None) -> int:
        """The wanted size of stored vectors, None for the native one. Raises SetupError outside the model's range."""
        if dimensions is None:
            return self.native_dimensions
        if not self.min_dimensions <= dimensions <= self.native_dimensions:
            is_fixed = self.min_dimensions == self.native_dimensions
            allowed = f"{'only' if is_fixed else f'{self.min_dimensions} to'} {self.native_dimensions}"
            raise SetupError(f"`dimensions` is {dimensions}; {self.name} supports {allowed}.")
        return dimensions


class Tokenizer(Protocol):
    """The served model's tokenizer, wherever it runs."""

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """Token ids of every text, special tokens included, however long. Safe from one thread at a time."""


def describe(address: Address, timeout_s: float = DESCRIBE_TIMEOUT_S) -> ServedModel:
    """Waits at most `timeout_s` for a replica. Raises SetupError if there is none, or no such model.

    For a process without an event loop; of a handle, one that is connected to the Ray cluster.
    """
    if isinstance(address, HttpAddress):
        from ingest.embedding.http import describe_endpoint

        return describe_endpoint(address, timeout_s)
    from serve_app.dispatch.slice_client import describe_model

    profile = describe_model(address.model, timeout_s)
    return ServedModel(
        name=profile.name,
        native_dimensions=profile.native_dimensions,
        min_dimensions=profile.min_dimensions,
        max_tokens=profile.max_tokens,
        fingerprint=profile.fingerprint,
        profile=profile,
    )


def open_tokenizer(address: Address, served: ServedModel) -> Tokenizer:
    """From the checkpoint inside the cluster; over HTTP the endpoint tokenises, as a laptop has no checkpoint.

    Raises SetupError if it cannot be opened; over HTTP, `encode` does too.
    """
    if isinstance(address, HttpAddress):
        from ingest.embedding.http_tokenizer import HttpTokenizer

        return HttpTokenizer(address, served)
    from serve_app.model.tokenizer import TextTokenizer

    if served.profile is None:
        raise SetupError(f"{served.name} was described over HTTP, so its checkpoint is not known to this cluster.")
    return TextTokenizer(served.profile)
