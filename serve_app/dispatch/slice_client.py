"""How a slice reaches a replica: the Router's way and the ingestion's way, the same handle call.

The one place where Ray's exceptions become the product's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve._private.replica_result import ReplicaResult
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.core.errors import EngineFailed, Overloaded, ReplicaUnavailable, RequestError, SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Slice, SliceAnswer
from serve_app.settings import APP_NAME, EMBEDDER_PREFIX, embedder_deployment

EmbedderHandle = DeploymentHandle[Any]
SendSlice = Callable[[Slice], Awaitable[SliceAnswer]]
HopError = (
    RayError | RayServeException | grpc.RpcError | RuntimeError
)  # RuntimeError: Serve met a half-broken connection
HOP_ERRORS = (RayError, RayServeException, grpc.RpcError, RuntimeError)
REFUSED_BY_GRPC = frozenset(  # the message was at fault, and would be at the next replica
    {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
)
DESCRIBE_LIMIT_S = 2.0  # of one replica among several; it answers from its event loop in milliseconds
T = TypeVar("T")


def embedder_handle(served_name: str) -> EmbedderHandle:
    """The replicas of one served model, from any process of the Ray cluster."""
    return serve.get_deployment_handle(embedder_deployment(served_name), app_name=APP_NAME)


@contextmanager
def _short_lived_handle(deployment: str) -> Iterator[EmbedderHandle]:
    """For a process without an event loop.

    The handle of an autoscaled deployment goes on reporting to Serve every second. In a process that has left its
    cluster the report would make Ray start a new one.
    """
    handle = EmbedderHandle(deployment, APP_NAME)
    try:
        yield handle
    finally:
        handle.shutdown()  # type: ignore[no-untyped-call]


def describe_model(served_name: str, timeout_s: float) -> ModelProfile:
    """What the replicas of a model say they serve; an empty name means the cluster's first model.

    For a process without an event loop. Raises SetupError if the cluster does not serve it.
    """
    app = serve.status().applications.get(APP_NAME)
    served = [name for name in app.deployments if name.startswith(EMBEDDER_PREFIX)] if app is not None else []
    wanted = embedder_deployment(served_name) if served_name else next(iter(served), "")
    if wanted not in served:
        names = ", ".join(name.removeprefix(EMBEDDER_PREFIX) for name in served) or "nothing"
        raise SetupError(f"The cluster does not serve `{served_name}`; it serves {names}.")
    try:
        with _short_lived_handle(wanted) as handle:
            profile: ModelProfile = handle.describe.remote().result(timeout_s=timeout_s)
    except (RayError, RayServeException, TimeoutError) as error:
        raise SetupError(f"No replica of {wanted.removeprefix(EMBEDDER_PREFIX)} answers; is it starting?") from error
    return profile


def replica_metrics(served_name: str, timeout_s: float) -> list[str]:
    """What every replica of a model has recorded, in Prometheus' text format. For a process without an event loop.

    Raises SetupError if none answers in time.
    """
    try:
        with _short_lived_handle(embedder_deployment(served_name)) as handle:
            told = handle.broadcast("metrics").results(timeout_s=timeout_s)
    except (*HOP_ERRORS, TimeoutError) as error:
        raise SetupError(f"No replica of {served_name} tells its metrics; is it starting?") from error
    return [samples.decode() for _, samples in told]


def slice_sender(handle: EmbedderHandle) -> SendSlice:
    """A function that sends one slice and awaits its vectors; it raises RequestError and nothing vaguer.

    Cancelling it cancels the call in the replica. Plain pickle both ways: a slice is two arrays, and cloudpickle would
    walk it in Python for nothing.
    """
    method: EmbedderHandle | None = None

    async def send(slice_: Slice) -> SliceAnswer:
        nonlocal method
        if method is None:  # bound at the first call: Serve ties a handle to the event loop that is running
            method = handle.options(request_serialization="pickle", response_serialization="pickle").embed
        answer: SliceAnswer = await _translated(method.remote(slice_))
        return answer

    return send


def profile_reader(handle: EmbedderHandle) -> Callable[[], Awaitable[ModelProfile]]:
    """A function that asks any replica what it serves; it raises RequestError, or hangs while there is no replica."""

    async def describe() -> ModelProfile:
        profile: ModelProfile = await _translated(handle.describe.remote())
        return profile

    return describe


async def ask_every_replica(handle: EmbedderHandle, method: str, limit_s: float) -> list[Any]:
    """What each replica answers to a method without parameters, or the exception that it answered with: TimeoutError
    for one that has not within `limit_s`.

    Raises one of HOP_ERRORS if the replicas cannot be asked, TimeoutError if Serve does not tell in time who they are.
    """
    deadline = asyncio.get_running_loop().time() + limit_s
    async with asyncio.timeout_at(deadline):
        # Serve 2.60 has no public way to have the answers of some: `results_async` waits for all, or gives all up.
        calls = await handle.broadcast(method)._fetch_replica_results_async()
    return await asyncio.gather(*(_answer_of(call, deadline) for call in calls), return_exceptions=True)


async def _answer_of(call: ReplicaResult, deadline: float) -> Any:
    async with asyncio.timeout_at(deadline):
        return await call.get_async()  # type: ignore[no-untyped-call]


def awake_profile_reader(handle: EmbedderHandle) -> Callable[[], Awaitable[ModelProfile]]:
    """As `profile_reader`, but it raises ReplicaUnavailable while there is no replica, and so makes none start."""

    async def describe() -> ModelProfile:
        try:
            told = await ask_every_replica(handle, "describe", DESCRIBE_LIMIT_S)
        except (*HOP_ERRORS, TimeoutError) as error:
            raise _gone() from error
        profile: ModelProfile | None = next((answer for answer in told if isinstance(answer, ModelProfile)), None)
        if profile is None:
            raise _gone()
        return profile

    return describe


async def _translated(call: Awaitable[T]) -> T:
    try:
        return await call
    except HOP_ERRORS as error:
        raise to_request_error(error) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise _gone() from None  # the call was cancelled at the other end: the replica is shutting down


def to_request_error(error: Exception) -> RequestError:
    """What a caller may know of a failed hop. ReplicaUnavailable says that another replica may do better."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        return cause if isinstance(cause, RequestError) else EngineFailed("The replica failed; its log says why.")
    if isinstance(error, BackPressureError):
        return Overloaded("All replicas are busy: try again later.", retry_after_s=1.0)
    if isinstance(error, grpc.aio.AioRpcError) and error.code() in REFUSED_BY_GRPC:
        return EngineFailed("The replica cannot take a slice of this size: lower `slice_tokens` or `slice_texts`.")
    return _gone()


def _gone() -> ReplicaUnavailable:
    return ReplicaUnavailable("No replica can answer right now: try again.", retry_after_s=1.0)
