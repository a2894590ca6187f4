"""Dispatching without Ray: replicas that the test answers, a gate with a probe that the test answers, a metric sink."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Any, cast

import numpy as np

from serve_app.core.profile import ModelProfile
from serve_app.core.replica_count import ReplicaCount
from serve_app.core.types import Priority, Slice, SliceAnswer, TokenIds
from serve_app.dispatch.availability import ReplicaGate
from serve_app.dispatch.dispatcher import SliceDispatcher
from serve_app.dispatch.lane import Computed
from serve_app.settings import LimitSettings
from serve_app.telemetry.metrics import Metric
from tests.unit.serve_app.slices import FOREVER_S, names_of, right_vectors, texts_of

MODEL = "model"
DIMENSIONS = 8
PROFILE = cast(ModelProfile, object())


CLIENT: ContextVar[str] = ContextVar("CLIENT", default="nobody")  # of the request in whose context something runs


def answer_to(
    slice_: Slice, fingerprint: str = "v1", tokens_per_s: float = 0.0, dimensions: int = DIMENSIONS, replica: str = ""
) -> SliceAnswer:
    return SliceAnswer(right_vectors(texts_of(slice_), dimensions), fingerprint, tokens_per_s, replica)


class Replica:
    """Takes slices and answers each of them when the test says so."""

    def __init__(self) -> None:
        self.slices: list[Slice] = []
        self.clients: list[str] = []
        self.cancelled: list[int] = []
        self._answers: list[asyncio.Future[SliceAnswer]] = []

    async def send(self, slice_: Slice) -> SliceAnswer:
        index = len(self.slices)
        self.slices.append(slice_)
        self.clients.append(CLIENT.get())
        self._answers.append(asyncio.get_running_loop().create_future())
        try:
            return await self._answers[index]
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise

    @property
    def sent(self) -> list[list[int]]:
        """The names of the texts of each slice so far."""
        return [names_of(slice_) for slice_ in self.slices]

    async def answer_with_faulty(self, index: int, *names: int) -> None:
        """The texts of these names get vectors that mean nothing."""
        right = answer_to(self.slices[index])
        rows = [row for row, name in enumerate(self.sent[index]) if name in names]
        right.vectors[rows] = np.nan
        await self.answer_with(index, replace(right, faulty=frozenset(rows)))

    async def answer(
        self, *indices: int, fingerprint: str = "v1", tokens_per_s: float = 0.0, dimensions: int = DIMENSIONS
    ) -> None:
        for index in indices:
            await self.answer_with(index, answer_to(self.slices[index], fingerprint, tokens_per_s, dimensions))

    async def answer_with(self, index: int, answer: SliceAnswer) -> None:
        self._answers[index].set_result(answer)
        await settle()

    async def answer_waiting(self, indices: Iterable[int]) -> None:
        """Those of the slices that were sent and not answered."""
        await self.answer(*(i for i in indices if i < len(self._answers) and not self._answers[i].done()))

    async def fail(self, index: int, error: Exception) -> None:
        self._answers[index].set_exception(error)
        await settle()

    async def cancel(self, index: int) -> None:
        self._answers[index].cancel()
        await settle()


class Probe:
    """`describe` of a gate: answers, unless it is to hang."""

    def __init__(self) -> None:
        self.asked = 0
        self.clients: list[str] = []
        self._return: asyncio.Event | None = None

    def park(self) -> None:
        """From now on, asking hangs until `come_back`."""
        self._return = asyncio.Event()

    async def describe(self) -> ModelProfile:
        self.asked += 1
        self.clients.append(CLIENT.get())
        if self._return is not None:
            await self._return.wait()
        return PROFILE

    def come_back(self) -> None:
        assert self._return is not None
        self._return.set()


class Sink:
    """Every recording, by the metric's name."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, float, tuple[str, ...]]] = []

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None:
        self._put("counter", metric, amount, label_values)

    def set(self, metric: Metric, value: float, *label_values: str) -> None:
        self._put("gauge", metric, value, label_values)

    def observe(self, metric: Metric, value: float, *label_values: str) -> None:
        self._put("histogram", metric, value, label_values)

    def of(self, metric: Metric) -> list[tuple[float, tuple[str, ...]]]:
        return [(value, labels) for name, value, labels in self.recorded if name == metric.name]

    def _put(self, kind: str, metric: Metric, value: float, label_values: tuple[str, ...]) -> None:
        assert metric.kind == kind
        assert len(label_values) == len(metric.labels)
        self.recorded.append((metric.name, value, label_values))


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(12):
        await asyncio.sleep(0)


async def start(
    dispatcher: SliceDispatcher,
    given: list[TokenIds],
    timeout_s: float = FOREVER_S,
    priority: Priority = Priority.INTERACTIVE,
) -> asyncio.Task[Computed]:
    task = asyncio.create_task(dispatcher.embed(given, priority, timeout_s))
    await settle()
    return task


def limits_of(
    slice_tokens: int = 100,
    slice_texts: int = 8,
    slices_per_replica: int = 1,
    second_slice_tokens: int = 1,
    light_slice_tokens: int | None = None,
    max_queued_tokens: int = 1_000_000,
    max_wait_s: float = FOREVER_S,
) -> LimitSettings:
    """Any second slice is worth sending, unless the test says otherwise."""
    return LimitSettings.model_construct(
        slice_tokens=slice_tokens,
        slice_texts=slice_texts,
        slices_per_replica=slices_per_replica,
        second_slice_tokens=second_slice_tokens,
        light_slice_tokens=light_slice_tokens,
        max_queued_tokens=max_queued_tokens,
        max_wait_s=max_wait_s,
    )


def dispatcher_of(
    replica: Replica,
    limits: LimitSettings | None = None,
    replicas: int | ReplicaCount = 1,
    probe: Probe | None = None,
    sink: Sink | None = None,
    gate: ReplicaGate | None = None,
) -> SliceDispatcher:
    gate = gate or ReplicaGate((probe or Probe()).describe, MODEL)
    count = ReplicaCount(replicas, replicas) if isinstance(replicas, int) else replicas
    return SliceDispatcher(replica.send, gate, limits or limits_of(), count, sink or Sink())


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nothing can happen any more"
        self.now += max(0.0, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on which a minute of sleep takes no time."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test on an event loop in which no callback may fail: asyncio would only log that."""
    failures: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await test()

    @wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(watched())
        assert failures == []

    return run
