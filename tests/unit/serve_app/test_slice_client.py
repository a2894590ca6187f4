"""What a caller learns of a hop that failed; no Ray runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

from serve_app.core.errors import (
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    Overloaded,
    ReplicaUnavailable,
    RequestError,
)
from serve_app.core.types import Slice, Vectors
from serve_app.slice_client import EmbedderHandle, slice_sender, to_request_error
from tests.unit.serve_app.slices import interactive, right_vectors, texts_of


def raised_in_a_replica(cause: Exception) -> RayTaskError:
    """The error as it arrives: also an instance of its cause's class."""
    error = RayTaskError("embed", "Traceback, pid=7, ip=10.0.0.1", cause)  # type: ignore[no-untyped-call]
    return cast(RayTaskError, error.as_instanceof_cause())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "cause",
    [
        Overloaded("Full.", retry_after_s=2.5),
        InvalidRequest("Wrong.", param="input"),
        DeadlineExceeded("Late."),
        EngineFailed("Not finite."),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_an_error_of_the_product_arrives_as_it_was_raised(cause: RequestError) -> None:
    error = to_request_error(raised_in_a_replica(cause))
    assert type(error) is type(cause)
    assert (error.message, error.param, error.retry_after_s) == (cause.message, cause.param, cause.retry_after_s)


def test_any_other_error_of_a_replica_says_nothing_of_its_inside() -> None:
    error = to_request_error(raised_in_a_replica(ValueError("sesame")))
    assert isinstance(error, EngineFailed)
    assert error.message == "The replica failed; its log says why."


def test_back_pressure_is_an_overload() -> None:
    error = to_request_error(BackPressureError(num_queued_requests=9, max_queued_requests=9))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 1.0


@pytest.mark.parametrize(
    "lost",
    [ActorDiedError(), TaskCancelledError(), DeploymentUnavailableError(None), RayServeException("?")],  # type: ignore[arg-type]
    ids=lambda lost: type(lost).__name__,
)
def test_a_replica_that_went_away_can_be_tried_again(lost: RayError | RayServeException) -> None:
    error = to_request_error(lost)
    assert isinstance(error, ReplicaUnavailable)
    assert error.retry_after_s == 1.0


class FakeHandle:
    """Stands in for a deployment handle: `embed.remote` is whatever the test wants a replica to do."""

    def __init__(self, remote: Callable[[Slice], Awaitable[Vectors]]) -> None:
        self.remote = remote
        self.options_given: list[dict[str, str]] = []

    def options(self, **given: str) -> FakeHandle:
        self.options_given.append(given)
        return self

    @property
    def embed(self) -> FakeHandle:
        return self


def test_a_slice_is_sent_with_plain_pickle_and_its_vectors_come_back() -> None:
    async def remote(slice_: Slice) -> Vectors:
        return right_vectors(texts_of(slice_))

    handle, slice_ = FakeHandle(remote), interactive(1, [2, 3])
    send = slice_sender(cast(EmbedderHandle, handle))

    async def send_twice() -> list[Vectors]:
        return [await send(slice_), await send(slice_)]

    for vectors in asyncio.run(send_twice()):
        np.testing.assert_array_equal(vectors, right_vectors(texts_of(slice_)))
    assert handle.options_given == [{"request_serialization": "pickle", "response_serialization": "pickle"}]


def test_a_failed_hop_raises_the_error_of_the_product() -> None:
    async def remote(_: Slice) -> Vectors:
        raise raised_in_a_replica(Overloaded("Full.", retry_after_s=2.5))

    async def send_one() -> Vectors:
        return await slice_sender(cast(EmbedderHandle, FakeHandle(remote)))(interactive(1, [2]))

    with pytest.raises(Overloaded) as caught:
        asyncio.run(send_one())
    assert type(caught.value) is Overloaded
    assert caught.value.retry_after_s == 2.5
