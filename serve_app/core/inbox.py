"""The queue in front of an engine: two classes, counted in tokens, fed so that interactive texts wait least."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from serve_app.core.engine import UNBOUNDED_TOKENS
from serve_app.core.types import NO_ROWS, Priority, Slice, TokenIds, Vectors


@dataclass(slots=True, eq=False)
class Job:
    """One slice being worked on. `vectors` fills up row by row; `cursor` is the next text to hand to the engine.

    `faulty` are the rows that failed the checks, known once none is missing.
    """

    slice: Slice
    vectors: Vectors
    submitted_at: float  # on this process's monotonic clock, seconds, as is the deadline
    deadline: float
    offsets: list[int]  # the slice's, as plain numbers: they are read several times a text
    cursor: int = 0
    missing: int = 0  # rows not computed yet
    faulty: frozenset[int] = NO_ROWS
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
    """How much the engine may hold, and how long its steps may be.

    Of each class it holds the step that is computed and the next one. Alone, bulk is computed in steps of `alone_s`.
    Beside interactive traffic it gets one quantum, and gives way in the step that interactive texts have come for,
    unless it gave way in the step before: so an interactive text waits for at most one quantum, and its own step is
    short. Interactive texts come first, and may fill every step: a quantum of bulk that got nowhere for `patience_s`
    then goes with them.

    A quantum is what the engine computes in `quantum_s`, within the two bounds: the same tokens take a hundred times as
    long on one machine as on another, and it is the time that somebody waits.
    """

    step_tokens: int
    least_quantum: int  # fewer tokens are not worth a step
    most_quantum: int  # more would make no step more efficient
    capacity_tokens: int = UNBOUNDED_TOKENS  # of both classes together
    step_texts: int = 2**31  # the most that one step computes
    quantum_s: float = 0.015
    alone_s: float = 0.25  # what the first interactive text after a while may have to wait for
    linger_s: float = 1.0  # how long interactive traffic counts as present after its last text
    patience_s: float = 1.0

    @property
    def free_tokens(self) -> int:
        """What bulk may have in a step in which it gives way: so little costs hardly any time beside the weights."""
        return self.least_quantum // 2

    @property
    def held_tokens(self) -> int:
        """Of one class."""
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
