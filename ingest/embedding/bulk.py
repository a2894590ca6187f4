"""Many texts to their vectors: as fast as the cluster lets us, and no text lost to another one's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from ingest.embedding.aimd import AimdWindow
from ingest.embedding.base import Address, ServedModel
from ingest.embedding.gate import SliceGate
from ingest.embedding.patience import Patience
from ingest.embedding.transport import Transport, Vector, open_transport
from serve_app.core.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    ReplicaUnavailable,
    SetupError,
)
from serve_app.core.packing import pack
from serve_app.core.retry import RetryBudget
from serve_app.core.types import TokenIds

SLICE_TOKENS = 16_384  # one full step of a GPU replica
SLICE_TEXTS = 256
LEAST_SLICE_TOKENS = 1_024  # a slow cluster gets smaller slices, down to this
REFUSALS_OF_ONE_SIZE = 4
MOST_FAILED_IN_A_ROW = 32  # texts, before the engine is suspected
TEXT_AT_FAULT = (EngineFailed, InvalidRequest, BodyTooLarge)
FAULTY = "Their vectors are of the wrong size, not finite or not of unit length."
Result = TypeVar("Result")


def open_embedder(address: Address, served: ServedModel, slices_in_flight: int, slice_timeout_s: float) -> BulkEmbedder:
    """For one event loop; over HTTP to be closed at the end."""
    transport = open_transport(address, served, slices_in_flight)
    return BulkEmbedder(transport, slices_in_flight, slice_timeout_s)


class BulkEmbedder:
    """Several calls may run at the same time; they share `slices_in_flight`."""

    def __init__(self, transport: Transport, slices_in_flight: int, slice_timeout_s: float) -> None:
        """`slice_timeout_s` bounds how long a slice waits without a sign of life from the cluster."""
        self._transport = transport
        self._timeout_s = slice_timeout_s
        self._window = AimdWindow(slices_in_flight)
        self._gate = SliceGate(self._window)
        self._budget = RetryBudget()
        self._slice_tokens = SLICE_TOKENS
        self._failed_in_a_row = 0
        self._proven: list[TokenIds] | None = None

    @property
    def limit(self) -> int:
        """How many slices it keeps under way now: fewer than allowed while the cluster is full."""
        return self._window.limit

    async def embed(self, texts: Sequence[TokenIds]) -> list[Vector | None]:
        """One vector of full width a text, in order; None for a text the engine cannot embed.

        A cluster without room slows it down, for as long as that takes. Raises SetupError if the job cannot go on:
        no sign of life for `slice_timeout_s`, a key that is refused, an engine that fails whatever it gets.
        """
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))  # no long text is left for the end
        ranges = pack([len(texts[index]) for index in order], self._slice_tokens, SLICE_TEXTS)
        slices = [[texts[index] for index in order[part.start : part.stop]] for part in ranges]
        found = [vector for part in await _all([self._isolate(slice_) for slice_ in slices]) for vector in part]
        result: list[Vector | None] = [None] * len(texts)
        for index, vector in zip(order, found, strict=True):
            result[index] = vector
        return result

    async def close(self) -> None:
        await self._transport.close()

    async def _isolate(self, texts: list[TokenIds]) -> list[Vector | None]:
        """Texts that got faulty vectors beside good ones are tried again among themselves. A slice without any good
        vector is halved until the one text is found that makes it fail: it may as well be the replica's fault.
        """
        found: list[Vector | None] = [None] * len(texts)
        try:
            found = await self._send_patiently(texts)
        except TEXT_AT_FAULT:
            pass
        except (DeadlineExceeded, Overloaded):
            self._slice_tokens = max(LEAST_SLICE_TOKENS, min(self._slice_tokens, sum(map(len, texts)) // 2))
        lost = [row for row, vector in enumerate(found) if vector is None]
        if not lost:
            return found
        if len(texts) == 1:
            return [await self._try_alone_again(texts)]
        middle = len(texts) // 2
        for rows in (lost,) if len(lost) < len(texts) else (lost[:middle], lost[middle:]):
            for row, vector in zip(rows, await self._isolate([texts[row] for row in rows]), strict=True):
                found[row] = vector
        return found

    async def _try_alone_again(self, text: list[TokenIds]) -> Vector | None:
        """A text is given up only when it fails twice: a step of the engine takes down whatever else is in it."""
        reason = FAULTY
        try:
            (vector,) = await self._send_patiently(text)
        except TEXT_AT_FAULT as error:
            vector, reason = None, error.message
        if vector is None:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= MOST_FAILED_IN_A_ROW:
                await self._check_engine(reason)
        return vector

    async def _check_engine(self, reason: str) -> None:
        """Raises SetupError unless a text that was embedded before still can be."""
        try:
            if self._proven is not None and (await self._send_patiently(self._proven))[0] is not None:
                return
        except TEXT_AT_FAULT as error:
            reason = error.message
        raise SetupError(
            f"The cluster failed {self._failed_in_a_row} texts in a row, each of them alone, so it is not the texts. "
            f"{reason} Run it again when that is mended: what is stored stays."
        )

    async def _send_patiently(self, texts: list[TokenIds]) -> list[Vector | None]:
        """Raises of RequestError only what waiting does not mend."""
        patience = Patience(self._timeout_s)
        self._budget.earn()
        while True:
            async with self._gate.place(patience.is_retry):
                sent_in = self._window.round
                try:
                    return await self._send(texts, patience)
                except Overloaded as error:
                    self._window.refused(sent_in)
                    self._gate.close_for(patience.after_refusal(error))
                    if patience.refusals >= REFUSALS_OF_ONE_SIZE and _may_be_halved(texts):
                        raise  # there may never be room for so much at once
                except DeadlineExceeded as error:
                    self._window.refused(sent_in)
                    if len(texts) > 1:
                        raise  # half of it may be done in time
                    await asyncio.sleep(patience.after_failure(error))
                except ReplicaUnavailable as error:
                    if error.retry_after_s is not None or not self._budget.spend():
                        await asyncio.sleep(patience.after_failure(error))

    async def _send(self, texts: list[TokenIds], patience: Patience) -> list[Vector | None]:
        left_s = patience.begin()
        try:
            async with asyncio.timeout(left_s):
                vectors = await self._transport.send(texts, left_s)
        except TimeoutError as error:
            raise patience.lost("Its replicas do not answer.") from error
        self._window.succeeded()
        self._gate.open()
        good = next((text for text, vector in zip(texts, vectors, strict=True) if vector is not None), None)
        if good is not None:
            self._failed_in_a_row = 0
            self._proven = [good]
        return vectors


def _may_be_halved(texts: list[TokenIds]) -> bool:
    return len(texts) > 1 and sum(map(len, texts)) > LEAST_SLICE_TOKENS


async def _all(work: list[Coroutine[Any, Any, Result]]) -> list[Result]:
    """What each gives, in order; when one fails, the others are cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
