"""What a caller learns of a hop that failed; no Ray runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import grpc
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
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Slice, SliceAnswer
from serve_app.dispatch.slice_client import EmbedderHandle, profile_reader, slice_sender, to_request_error
from tests.unit.serve_app.dispatching import PROFILE, answer_to
from tests.unit.serve_app.slices import interactive


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


def grpc_error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "sesame")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN])
def test_a_connection_that_broke_can_be_tried_again(code: grpc.StatusCode) -> None:
    assert isinstance(to_request_error(grpc_error(code)), ReplicaUnavailable)


def test_a_slice_too_large_for_a_message_is_not_tried_at_the_next_replica() -> None:
    error = to_request_error(grpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED))
    assert isinstance(error, EngineFailed)
    assert "slice_tokens" in error.message


class FakeHandle:
    """Stands in for a deployment handle: `embed.remote` is whatever the test wants a replica to do."""

    def __init__(self, remote: Callable[..., Awaitable[object]]) -> None:
        self.remote = remote
        self.options_given: list[dict[str, str]] = []

    def options(self, **given: str) -> FakeHandle:
        self.options_given.append(given)
        return self

    @property
    def embed(self) -> FakeHandle:
        return self

    @property
    def describe(self) -> FakeHandle:
        return self


def handle_of(remote: Callable[..., Awaitable[object]]) -> EmbedderHandle:
    return cast(EmbedderHandle, FakeHandle(remote))


def test_a_slice_is_sent_with_plain_pickle_and_its_answer_comes_back() -> None:
    answers: list[SliceAnswer] = []

    async def remote(slice_: Slice) -> SliceAnswer:
        answers.append(answer_to(slice_))
        return answers[-1]

    handle, slice_ = FakeHandle(remote), interactive(1, [2, 3])
    send = slice_sender(cast(EmbedderHandle, handle))

    async def send_twice() -> list[SliceAnswer]:
        return [await send(slice_), await send(slice_)]

    returned = asyncio.run(send_twice())
    assert [id(answer) for answer in returned] == [id(answer) for answer in answers]
    assert handle.options_given == [{"request_serialization": "pickle", "response_serialization": "pickle"}]


def test_a_failed_hop_raises_the_error_of_the_product() -> None:
    async def remote(_: Slice) -> SliceAnswer:
        raise raised_in_a_replica(Overloaded("Full.", retry_after_s=2.5))

    async def send_one() -> SliceAnswer:
        return await slice_sender(handle_of(remote))(interactive(1, [2]))

    with pytest.raises(Overloaded) as caught:
        asyncio.run(send_one())
    assert type(caught.value) is Overloaded
    assert caught.value.retry_after_s == 2.5


def test_a_call_cancelled_at_the_other_end_is_a_replica_that_went_away() -> None:
    async def remote(_: Slice) -> SliceAnswer:
        raise asyncio.CancelledError

    async def send_one() -> SliceAnswer:
        return await slice_sender(handle_of(remote))(interactive(1, [2]))

    with pytest.raises(ReplicaUnavailable):
        asyncio.run(send_one())


def test_cancelling_a_hop_cancels_the_call() -> None:
    cancelled: list[Slice] = []

    async def remote(slice_: Slice) -> SliceAnswer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(slice_)
            raise
        raise AssertionError("nothing sets the event")

    async def send_and_cancel() -> None:
        hop = asyncio.ensure_future(slice_sender(handle_of(remote))(interactive(1, [2])))
        await asyncio.sleep(0)
        hop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hop

    asyncio.run(send_and_cancel())
    assert len(cancelled) == 1


def test_a_replica_is_asked_what_it_serves_and_its_loss_is_told_as_one_of_the_product_s_errors() -> None:
    outcomes: list[ModelProfile | Exception] = [PROFILE, ActorDiedError()]

    async def remote() -> ModelProfile:
        outcome = outcomes.pop(0)
        return _raised(outcome) if isinstance(outcome, Exception) else outcome

    describe = profile_reader(handle_of(remote))

    async def ask() -> ModelProfile:
        return await describe()

    assert asyncio.run(ask()) is PROFILE
    with pytest.raises(ReplicaUnavailable):
        asyncio.run(ask())


def _raised(error: Exception) -> ModelProfile:
    raise error
