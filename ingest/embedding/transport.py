"""How a slice of texts gets to the cluster and its vectors back."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.embedding.base import Address, HttpAddress, ServedModel
from serve_app.core.errors import SetupError
from serve_app.core.types import Priority, Slice, TokenIds
from serve_app.dispatch.slice_client import embedder_handle, slice_sender

Vector = NDArray[np.float32]  # (native dimensions,), unit norm


class Transport(Protocol):
    """For one event loop."""

    async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
        """One vector a text, in order; None for a text of which the engine computed a faulty one.

        Raises Overloaded, ReplicaUnavailable or DeadlineExceeded if it may do better later; EngineFailed or
        InvalidRequest if a text may be at fault and nobody says which; SetupError if the job cannot go on.
        """

    async def close(self) -> None: ...


def open_transport(address: Address, served: ServedModel, most_at_once: int) -> Transport:
    """The way to `served`, for at most so many slices under way."""
    if isinstance(address, HttpAddress):
        from ingest.embedding.http_transport import HttpTransport

        return HttpTransport(address, served, most_at_once)
    return HandleTransport(served)


class HandleTransport:
    """The call that the Router makes too."""

    def __init__(self, served: ServedModel) -> None:
        self._send = slice_sender(embedder_handle(served.name))
        self._served = served

    async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
        answer = await self._send(Slice.of(texts, Priority.BULK, timeout_s))
        if answer.fingerprint != self._served.fingerprint:
            raise SetupError(
                f"The replicas of {self._served.name} serve other weights or settings than when the job began, and "
                "their vectors must not mix: run it again, for a collection of the new ones."
            )
        vectors: list[Vector | None] = list(answer.vectors)
        for row in answer.faulty:
            vectors[row] = None
        return vectors

    async def close(self) -> None:
        """A handle needs none."""
