"""What comes out of an engine: rows into their jobs, checked, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from serve_app.core.errors import RequestError
from serve_app.core.in_engine import HeldText
from serve_app.core.inbox import Job
from serve_app.core.types import Priority, Vectors

Outcome = tuple[Job, RequestError | None]
NORM_TOLERANCE = 1e-2  # bfloat16 rounding stays well inside; an unnormalised or broken vector does not
MAX_FAULTS_IN_ROW = 3  # one faulty slice may be its texts' doing; so many one after the other are the engine's


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step finished. `faults` are the vectors that failed the checks, of the slices that ended in it."""

    texts: dict[Priority, int]
    tokens: dict[Priority, int]
    faults: int
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


class FaultRun:
    """Slices one after the other without a single good vector: the sign of an engine that has gone bad.

    A slice with a good vector ends the run, and one text alone, however often it comes, does not blame the engine:
    whoever finds a text that the model cannot compute must not be able to restart replicas with it.
    """

    def __init__(self) -> None:
        self.slices = 0
        self._first_text = b""  # digest of the run's first text
        self._has_other_texts = False

    @property
    def blames_engine(self) -> bool:
        return self.slices >= MAX_FAULTS_IN_ROW and self._has_other_texts

    def end_slice(self, job: Job, good_rows: int) -> None:
        if good_rows:
            self.slices, self._has_other_texts = 0, False
            return
        texts = {_digest(job, row) for row in range(job.slice.texts)}
        if not self.slices:
            self._first_text = next(iter(texts))
        self.slices += 1
        self._has_other_texts = self._has_other_texts or bool(texts - {self._first_text})


class Ledger:
    """What an engine has done since it started. One thread writes, any may read."""

    def __init__(self) -> None:
        self.steps = 0
        self.texts = dict.fromkeys(Priority, 0)
        self.tokens = dict.fromkeys(Priority, 0)
        self.fault_run = FaultRun()

    def close_step(self, rows: StepRows, seconds: float) -> tuple[list[Outcome], StepReport]:
        """Check the slices that ended in a step, and count all of it. A faulty row is no failure of its slice: the job
        names it, and only who asked for its text goes without a vector.
        """
        outcomes: list[Outcome] = []
        faults = 0
        for job in rows.ended:
            is_good = _is_unit_norm(job.vectors)
            good = int(np.count_nonzero(is_good))
            self.fault_run.end_slice(job, good)
            if good < job.slice.texts:
                faults += job.slice.texts - good
                job.faulty = frozenset(np.flatnonzero(~is_good).tolist())
            outcomes.append((job, None))
        self.steps += 1
        for priority in Priority:
            self.texts[priority] += rows.texts[priority]
            self.tokens[priority] += rows.tokens[priority]
        return outcomes, StepReport(rows.texts, rows.tokens, faults, seconds)


def are_unit_norm(vectors: Vectors) -> bool:
    """Every row of (n, D) is finite and of length 1, within what bfloat16 may round."""
    return bool(np.all(_is_unit_norm(vectors)))


def _is_unit_norm(vectors: Vectors) -> NDArray[np.bool_]:
    """(n, D) -> (n,)."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    is_unit: NDArray[np.bool_] = np.abs(norms - 1.0) < NORM_TOLERANCE  # NaN compares False
    return is_unit


def _digest(job: Job, row: int) -> bytes:
    return blake2b(job.text(row).tobytes(), digest_size=16).digest()
