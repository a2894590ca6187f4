"""The port between a replica and whatever computes vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.core.types import Priority, TokenIds

UNBOUNDED_TOKENS = 2**40  # the capacity of an engine that keeps nothing between steps


@dataclass(frozen=True, slots=True)
class StepBounds:
    """What one step may compute, in tokens; all of it together is never more than the engine's `step_tokens`.

    Texts that have begun go on, then interactive ones begin, then bulk ones, unless bulk takes `bulk_tokens` already.
    No text takes more than `text_tokens`, unless the engine cannot compute one in pieces.
    """

    bulk_tokens: int
    text_tokens: int
    bulk_gives_way: bool = False  # no bulk text has to begin if none is short enough

    @classmethod
    def full(cls, step_tokens: int) -> StepBounds:
        return cls(step_tokens, step_tokens)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step gave.

    `finished` are (key, unit-norm float32 vector of the native size) in no particular order; `tokens` are all that it
    computed, also of texts that go on, whose keys are `begun`.
    """

    finished: Sequence[tuple[int, NDArray[np.float32]]]
    tokens: int
    begun: frozenset[int] = frozenset()


class EmbeddingEngine(Protocol):
    """Continuous batching over token ids, driven one step at a time from one thread."""

    @property
    def dimensions(self) -> int: ...

    @property
    def step_tokens(self) -> int:
        """The most tokens one step computes."""

    @property
    def capacity_tokens(self) -> int:
        """The most tokens whose keys and values fit in memory; UNBOUNDED_TOKENS for an encoder, which keeps none."""

    @property
    def peak_flops(self) -> float | None:
        """Dense bfloat16 operations a second of all its GPUs together; None on a CPU or an unknown GPU."""

    def add(self, key: int, ids: TokenIds, priority: Priority) -> None:
        """Never blocks."""

    def step(self, bounds: StepBounds) -> Step:
        """Compute for a bounded time; the engine must hold something."""

    def drop(self, keys: Sequence[int]) -> None:
        """Forget texts that nobody waits for any more; unknown keys are fine."""

    def close(self) -> None: ...
