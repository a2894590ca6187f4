"""The port between a replica and whatever computes vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.core.types import Priority, TokenIds

UNBOUNDED_TOKENS = 2**40  # the capacity of an engine that keeps nothing between steps


class EmbeddingEngine(Protocol):
    """Continuous batching over token ids, driven one step at a time from one thread.

    `add` never blocks; `step` computes for a bounded time and gives back the texts that finished in it, each as
    (key, unit-norm float32 vector of the native size), in no particular order.
    """

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

    def add(self, key: int, ids: TokenIds, priority: Priority) -> None: ...

    def step(self) -> Sequence[tuple[int, NDArray[np.float32]]]: ...

    def drop(self, keys: Sequence[int]) -> None:
        """Forget texts that nobody waits for any more; unknown keys are fine."""

    def close(self) -> None: ...
