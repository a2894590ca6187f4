"""The queue in front of an engine: two classes, bounded in tokens, fed so that interactive texts wait least."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from serve_app.core.types import Priority, Slice, TokenIds, Vectors


@dataclass(slots=True, eq=False)
class Job:
    """One slice being worked on. `vectors` fills up row by row; `cursor` is the next text to hand to the engine."""

    slice: Slice
    vectors: Vectors
    deadline: float  # on this process's monotonic clock, seconds
    cursor: int = 0
    missing: int = 0  # rows not computed yet
    is_abandoned: bool = False

    @classmethod
    def of(cls, slice_: Slice, dimensions: int, now: float) -> Job:
        vectors = np.empty((slice_.texts, dimensions), dtype=np.float32)
        return cls(slice_, vectors, now + slice_.timeout_s, missing=slice_.texts)

    def text(self, row: int) -> TokenIds:
        return self.slice.ids[self.slice.offsets[row] : self.slice.offsets[row + 1]]

    def length(self, row: int) -> int:
        return int(self.slice.offsets[row + 1] - self.slice.offsets[row])

    @property
    def waiting_tokens(self) -> int:
        return int(self.slice.offsets[-1] - self.slice.offsets[self.cursor])


@dataclass(frozen=True, slots=True)
class Feed:
    """How many tokens of each class the engine may hold.

    Alone, bulk keeps the next step ready while one runs. Beside interactive traffic it gets one quantum, so that an
    interactive text never waits behind more than one short step.
    """

    step_tokens: int
    bulk_quantum: int
    linger_s: float = 0.2  # how long interactive traffic counts as present after its last text

    def bulk_tokens(self, is_interactive_present: bool) -> int:
        return self.bulk_quantum if is_interactive_present else 2 * self.step_tokens

    @property
    def interactive_tokens(self) -> int:
        return 2 * self.step_tokens


class Inbox:
    """Jobs that wait, oldest first within a class. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._queues: dict[Priority, deque[Job]] = {priority: deque() for priority in Priority}

    def put(self, job: Job) -> None:
        self._queues[job.slice.priority].append(job)

    def waiting_tokens(self) -> int:
        return sum(job.waiting_tokens for queue in self._queues.values() for job in queue if not job.is_abandoned)

    def is_empty(self) -> bool:
        return not any(self._queues.values())

    def take(self, priority: Priority, room_tokens: int, now: float) -> tuple[list[tuple[Job, int]], list[Job]]:
        """Texts of one class, as (job, row), until `room_tokens` is used up; and the jobs whose deadline has passed.

        The first text is handed out even if it is longer than the room, so that no text can wait for ever.
        """
        queue, taken, late = self._queues[priority], [], []
        while queue and room_tokens > 0:
            job = queue[0]
            if job.is_abandoned or job.deadline <= now:
                queue.popleft()
                if not job.is_abandoned:
                    late.append(job)
                continue
            while job.cursor < job.slice.texts and room_tokens > 0:
                taken.append((job, job.cursor))
                room_tokens -= job.length(job.cursor)
                job.cursor += 1
            if job.cursor == job.slice.texts:
                queue.popleft()
        return taken, late

    def drain(self) -> list[Job]:
        """Empty the inbox and give back every job in it."""
        jobs = [job for queue in self._queues.values() for job in queue]
        for queue in self._queues.values():
            queue.clear()
        return jobs
