"""The queue in front of an engine: two classes, counted in tokens, fed so that interactive texts wait least."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from serve_app.core.engine import UNBOUNDED_TOKENS
from serve_app.core.types import Priority, Slice, TokenIds, Vectors


@dataclass(slots=True, eq=False)
class Job:
    """One slice being worked on. `vectors` fills up row by row; `cursor` is the next text to hand to the engine."""

    slice: Slice
    vectors: Vectors
    submitted_at: float  # on this process's monotonic clock, seconds, as is the deadline
    deadline: float
    offsets: list[int]  # the slice's, as plain numbers: they are read several times a text
    cursor: int = 0
    missing: int = 0  # rows not computed yet
    is_abandoned: bool = False

    @classmethod
    def of(cls, slice_: Slice, dimensions: int, now: float) -> Job:
        vectors = np.empty((slice_.texts, dimensions), dtype=np.float32)
        return cls(slice_, vectors, now, now + slice_.timeout_s, slice_.offsets.tolist(), missing=slice_.texts)

    def text(self, row: int) -> TokenIds:
        return self.slice.ids[self.offsets[row] : self.offsets[row + 1]]

    def length(self, row: int) -> int:
        return self.offsets[row + 1] - self.offsets[row]

    @property
    def waiting_tokens(self) -> int:
        return self.offsets[-1] - self.offsets[self.cursor]


@dataclass(frozen=True, slots=True)
class Feed:
    """How many tokens of each class the engine may hold.

    Alone, bulk keeps the next step ready while one runs. Beside interactive traffic it gets one quantum, and nothing in
    the step that interactive texts have come for, unless it got nothing in the step before either: so an interactive
    text waits for at most one quantum, and its own step is short. Bulk texts that have waited for `patience_s` beside
    it go with the interactive ones, still one quantum at a time: a full engine would otherwise never come to them.
    """

    step_tokens: int
    bulk_quantum: int
    capacity_tokens: int = UNBOUNDED_TOKENS  # of both classes together
    linger_s: float = 1.0  # how long interactive traffic counts as present after its last text
    patience_s: float = 1.0

    def bulk_tokens(self, is_interactive_present: bool) -> int:
        return self.bulk_quantum if is_interactive_present else 2 * self.step_tokens

    @property
    def interactive_tokens(self) -> int:
        return 2 * self.step_tokens


@dataclass(slots=True)
class _Queue:
    jobs: deque[Job] = field(default_factory=deque)
    tokens: int = 0  # of the texts that still wait

    def pop(self) -> Job:
        """Take the first job out with whatever still waits of it."""
        job = self.jobs.popleft()
        if not job.is_abandoned:
            self.tokens -= job.waiting_tokens
        job.cursor = job.slice.texts
        return job


class Inbox:
    """Jobs that wait, oldest first within a class. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._queues = {priority: _Queue() for priority in Priority}

    def put(self, job: Job) -> None:
        queue = self._queues[job.slice.priority]
        queue.jobs.append(job)
        queue.tokens += job.waiting_tokens

    def abandon(self, job: Job) -> None:
        """What waits of it counts no longer, and will not leave."""
        if not job.is_abandoned:
            self._queues[job.slice.priority].tokens -= job.waiting_tokens
            job.is_abandoned = True

    def waiting_tokens(self, priority: Priority) -> int:
        return self._queues[priority].tokens

    def is_empty(self) -> bool:
        return not any(queue.jobs for queue in self._queues.values())

    def take(
        self,
        priority: Priority,
        room_tokens: int,
        now: float,
        held_tokens: int = 0,
        capacity_tokens: int = UNBOUNDED_TOKENS,
    ) -> tuple[list[tuple[Job, int]], list[Job]]:
        """Texts of one class, as (job, row), until `room_tokens` is used up; and the jobs whose deadline has passed.

        The first text is handed out even if it is longer than the room, so that no text can wait for ever. With the
        `held_tokens` the engine holds already, no more than `capacity_tokens` come together, unless it is one text.
        """
        taken: list[tuple[Job, int]] = []
        queue, late = self._queues[priority], []
        while queue.jobs and room_tokens > 0:
            job = queue.jobs[0]
            if job.is_abandoned or job.deadline <= now:
                queue.pop()
                if not job.is_abandoned:
                    late.append(job)
                continue
            while job.cursor < job.slice.texts and room_tokens > 0:
                length = job.length(job.cursor)
                if held_tokens and held_tokens + length > capacity_tokens:
                    return taken, late
                taken.append((job, job.cursor))
                room_tokens -= length
                held_tokens += length
                queue.tokens -= length
                job.cursor += 1
            if job.cursor == job.slice.texts:
                queue.pop()
        return taken, late

    def drain(self) -> list[Job]:
        """Empty the inbox and give back every job in it."""
        return [queue.pop() for queue in self._queues.values() for _ in range(len(queue.jobs))]
