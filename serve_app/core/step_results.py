"""What comes out of an engine: rows into their jobs, checked, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serve_app.core.errors import RequestError
from serve_app.core.in_engine import HeldText
from serve_app.core.inbox import Job
from serve_app.core.types import Priority, Vectors

Outcome = tuple[Job, RequestError | None]
NORM_TOLERANCE = 1e-2  # bfloat16 rounding stays well inside; an unnormalised or broken vector does not
SUSPICIOUS_SLICES = 3  # so many one after the other without a good vector may be their texts' doing, or the engine's


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step finished, by class, and what it computed: all its tokens, also those of texts that go on.

    `faults` are the vectors that failed the checks, of the slices that ended in it.
    """

    texts: dict[Priority, int]
    tokens: dict[Priority, int]
    faults: int
    computed: int
    seconds: float


@dataclass(slots=True)
class StepRows:
    """The texts that one step finished, counted by class, and the jobs that have all their rows now."""

    texts: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))
    tokens: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))
    ended: list[Job] = field(default_factory=list)

    def add(self, text: HeldText, vector: NDArray[np.float32]) -> None:
        """A vector of another size leaves a row of NaN, which fails the check."""
        job, priority = text.job, text.job.slice.priority
        self.texts[priority] += 1
        self.tokens[priority] += text.tokens
        job.vectors[text.row] = vector if vector.shape == job.vectors.shape[1:] else np.nan
        job.missing -= 1
        if job.missing == 0:
            self.ended.append(job)


class Ledger:
    """What an engine has done since it started. One thread writes, any may read."""

    def __init__(self) -> None:
        self.steps = 0
        self.texts = dict.fromkeys(Priority, 0)
        self.tokens = dict.fromkeys(Priority, 0)
        self._faulty_in_a_row = 0  # slices without a single good vector

    @property
    def is_engine_suspect(self) -> bool:
        """Whether it is time to let it compute what must come out right; a good vector of any slice ends this."""
        return self._faulty_in_a_row >= SUSPICIOUS_SLICES

    def close_step(self, rows: StepRows, computed: int, seconds: float) -> tuple[list[Outcome], StepReport]:
        """Check the slices that ended in a step, and count all of it. A faulty row is no failure of its slice: the job
        names it, and only who asked for its text goes without a vector.
        """
        outcomes: list[Outcome] = []
        faults = 0
        for job in rows.ended:
            is_good = _is_unit_norm(job.vectors)
            good = int(np.count_nonzero(is_good))
            self._faulty_in_a_row = 0 if good else self._faulty_in_a_row + 1
            if good < job.slice.texts:
                faults += job.slice.texts - good
                job.faulty = frozenset(np.flatnonzero(~is_good).tolist())
            outcomes.append((job, None))
        self.steps += 1
        for priority in Priority:
            self.texts[priority] += rows.texts[priority]
            self.tokens[priority] += rows.tokens[priority]
        return outcomes, StepReport(rows.texts, rows.tokens, faults, computed, seconds)


def are_unit_norm(vectors: Vectors) -> bool:
    """Every row of (n, D) is finite and of length 1, within what bfloat16 may round."""
    return bool(np.all(_is_unit_norm(vectors)))


def _is_unit_norm(vectors: Vectors) -> NDArray[np.bool_]:
    """(n, D) -> (n,)."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    is_unit: NDArray[np.bool_] = np.abs(norms - 1.0) < NORM_TOLERANCE  # NaN compares False
    return is_unit
