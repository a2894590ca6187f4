"""An EmbeddingEngine for tests: exact answers without a model, and any misbehaviour on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from serve_app.core.engine import UNBOUNDED_TOKENS, Step, StepBounds
from serve_app.core.types import Priority, TokenIds
from serve_app.engines.step_budget import StepBudget

Vector = NDArray[np.float32]  # (dimensions,)


def unit_vector(ids: TokenIds, dimensions: int) -> Vector:
    """The one right answer for a text: unit norm, different for different ids, whatever else is in the batch."""
    seed = int.from_bytes(blake2b(ids.astype("<i4").tobytes(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def do_nothing(*_: object) -> None:
    """The default of the hooks below."""


@dataclass(slots=True)
class _Text:
    key: int
    ids: TokenIds
    priority: Priority
    remaining: int  # tokens not computed yet


class DeterministicEngine:
    """Continuous batching as vLLM does it: texts under way go on first, then the waiting ones by class and age.

    A step computes what its bounds allow, `step_tokens` at most; a longer text takes several, unless the engine cannot
    pause in it. `vector_of` may return
    anything (NaN, another size), and the hooks may raise (a crash), sleep (a slow engine) or block (an engine held in
    the middle of a step).
    """

    def __init__(
        self,
        dimensions: int = 8,
        step_tokens: int = 64,
        vector_of: Callable[[TokenIds, int], Vector] = unit_vector,
        on_step: Callable[[], None] = do_nothing,
        on_add: Callable[[TokenIds], None] = do_nothing,
        capacity_tokens: int = UNBOUNDED_TOKENS,
        peak_flops: float | None = None,
        can_pause: bool = True,
    ) -> None:
        self._dimensions = dimensions
        self._step_tokens = step_tokens
        self._vector_of = vector_of
        self._capacity_tokens = capacity_tokens
        self._peak_flops = peak_flops
        self.on_step = on_step
        self.on_add = on_add
        self._running: list[_Text] = []
        self._waiting: list[_Text] = []
        self._budget = StepBudget(step_tokens, can_pause=can_pause)
        self._can_pause = can_pause
        self.added: list[tuple[int, ...]] = []  # the ids of every text, in the order in which the worker gave them
        self.dropped: list[int] = []
        self.tokens_of_steps: list[int] = []
        self.bulk_tokens_of_steps: list[int] = []
        self.is_closed = False

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def step_tokens(self) -> int:
        return self._step_tokens

    @property
    def capacity_tokens(self) -> int:
        return self._capacity_tokens

    @property
    def peak_flops(self) -> float | None:
        return self._peak_flops

    def add(self, key: int, ids: TokenIds, priority: Priority) -> None:
        self.added.append(tuple(ids.tolist()))
        self.on_add(ids)
        self._budget.add(key, len(ids), priority)
        self._waiting.append(_Text(key, ids, priority, len(ids)))

    def step(self, bounds: StepBounds) -> Step:
        self.on_step()
        self._waiting.sort(key=lambda text: (text.priority, text.key))
        most = budget = self._budget.of_step(bounds, {t.key: len(t.ids) - t.remaining for t in self._running})
        computed = dict.fromkeys(Priority, 0)
        for text in [*self._running, *self._waiting]:
            tokens = min(budget, text.remaining, bounds.text_tokens if self._can_pause else self._step_tokens)
            if not self._can_pause and tokens < text.remaining:
                break  # as vLLM: what does not fit whole does not begin, and nothing after it
            text.remaining -= tokens
            budget -= tokens
            computed[text.priority] += tokens
        self.tokens_of_steps.append(most - budget)
        self.bulk_tokens_of_steps.append(computed[Priority.BULK])
        texts = [*self._running, *self._waiting]
        self._running = [text for text in texts if 0 < text.remaining < len(text.ids)]
        self._waiting = [text for text in texts if text.remaining == len(text.ids)]
        finished = [text for text in texts if text.remaining == 0]
        self._budget.remove(text.key for text in finished)
        vectors = [(text.key, self._vector_of(text.ids, self._dimensions)) for text in reversed(finished)]
        return Step(vectors, most - budget, frozenset(text.key for text in self._running))

    def drop(self, keys: Sequence[int]) -> None:
        self.dropped.extend(keys)
        self._budget.remove(keys)
        self._running = [text for text in self._running if text.key not in keys]
        self._waiting = [text for text in self._waiting if text.key not in keys]

    def close(self) -> None:
        self.is_closed = True

    def held_tokens(self, priority: Priority) -> int:
        """Whole lengths of the unfinished texts of one class."""
        return sum(len(text.ids) for text in [*self._running, *self._waiting] if text.priority is priority)
