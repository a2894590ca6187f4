"""Which texts an engine gets next: the inbox on one side, what the engine holds on the other."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core.engine import Step, StepBounds
from serve_app.core.errors import Overloaded
from serve_app.core.in_engine import HeldText, InEngine
from serve_app.core.inbox import Feed, Inbox, Job
from serve_app.core.pace import Pace
from serve_app.core.types import Priority, Slice


@dataclass(frozen=True, slots=True)
class Turn:
    """What an engine is told before a step, and the jobs that came too late for it."""

    dropped: list[int]  # keys of texts that the engine forgets, some of them to be given to it anew
    given: list[int]  # keys of texts that it gets
    late: list[Job]
    bounds: StepBounds  # of the step


@dataclass(frozen=True, slots=True)
class _Taken:
    """What leaves the inbox for the engine, the jobs that came too late for it, and the step that is right for it."""

    texts: list[tuple[Job, int]]
    late: list[Job]
    bounds: StepBounds


class Scheduler:
    """Knows every job that waits and every text in the engine. Not thread-safe: the owner holds a lock."""

    def __init__(self, feed: Feed, max_queued_tokens: int) -> None:
        self._feed = feed
        self.max_queued_tokens = max_queued_tokens  # of each class
        self._inbox = Inbox()
        self._in_engine = InEngine()
        self._pace = Pace(feed.least_quantum)
        self._last_interactive = float("-inf")
        self._has_abandoned = False
        self._gives_way = False  # bulk got nothing last time, because interactive texts came

    @property
    def is_idle(self) -> bool:
        return not self._in_engine and self._inbox.is_empty()

    @property
    def holds_texts(self) -> bool:
        """The engine has something to compute."""
        return bool(self._in_engine)

    def queued_tokens_of(self, priority: Priority) -> int:
        """Tokens waiting or being computed."""
        return self._inbox.waiting_tokens(priority) + self._in_engine.tokens[priority]

    def put(self, job: Job, tokens_per_s: float) -> None:
        """Let a job wait. Raises Overloaded when its class is full; `tokens_per_s` says when to come again."""
        self._check_room(job.slice, tokens_per_s)
        self._inbox.put(job)

    def abandon(self, job: Job) -> None:
        self._inbox.abandon(job)
        self._has_abandoned = True

    def forget_abandoned(self) -> list[int]:
        """The keys of texts in the engine that nobody waits for any more."""
        if not self._has_abandoned:
            return []
        self._has_abandoned = False
        return self._in_engine.forget_abandoned()

    def next_turn(self, dropped: list[int], now: float) -> Turn:
        """What the engine gets now; `dropped` it forgets beside what is given to it anew."""
        taken = self._take(now)
        stale = self._in_engine.promote_stale(self._feed, self._quantum, now)
        # Every text is on record before the engine sees the first: whatever its `add` raises, no job is forgotten.
        texts = [*stale.values(), *(HeldText(job, row, job.slice.priority) for job, row in taken.texts)]
        given = [self._in_engine.add(text, now) for text in texts]
        return Turn([*dropped, *stale], given, taken.late, taken.bounds)

    def saw_step(self, step: Step, seconds: float) -> None:
        """What a step gave, and how long it took."""
        self._pace.saw(step.tokens, seconds)
        self._in_engine.go_on(step.begun)

    def held(self, key: int) -> HeldText | None:
        return self._in_engine.get(key)

    def finish(self, key: int, now: float) -> HeldText | None:
        """The text under a key, which leaves; None if nobody waits for it any more."""
        return self._in_engine.finish(key, now)

    def drain(self) -> list[Job]:
        """Forget everything; every job there was, once."""
        return list(dict.fromkeys([*self._inbox.drain(), *self._in_engine.drain()]))

    def _check_room(self, slice_: Slice, tokens_per_s: float) -> None:
        priority = slice_.priority
        waiting = self._inbox.waiting_tokens(priority)
        if not waiting or waiting + slice_.tokens <= self.max_queued_tokens:
            return
        first = sum(self._inbox.waiting_tokens(other) for other in Priority if other <= priority)
        raise Overloaded(
            f"{waiting} {priority.label} tokens are waiting and the limit is {self.max_queued_tokens}: "
            "try again later.",
            retry_after_s=first / tokens_per_s if tokens_per_s else 1.0,
        )

    @property
    def _quantum(self) -> int:
        return self._pace.tokens_in(self._feed.quantum_s, self._feed.most_quantum)

    def _take(self, now: float) -> _Taken:
        feed, held, in_engine = self._feed, self._in_engine.held_tokens, self._in_engine.tokens
        room = feed.held_tokens - in_engine[Priority.INTERACTIVE]
        taken, late = self._inbox.take(Priority.INTERACTIVE, room, now, held, feed.capacity_tokens)
        if taken or in_engine[Priority.INTERACTIVE]:
            self._last_interactive = now
        tokens = sum(job.length(row) for job, row in taken)
        bounds = self._bounds([job.length(row) for job, row in taken], now)
        if tokens < room and self._inbox.waiting_tokens(Priority.INTERACTIVE):
            return _Taken(taken, late, bounds)  # a long one waits for memory: bulk must not take it again and again
        room = feed.held_tokens - in_engine[Priority.BULK]
        bulk, bulk_late = self._inbox.take(Priority.BULK, room, now, held + tokens, feed.capacity_tokens)
        return _Taken(taken + bulk, late + bulk_late, bounds)

    def _bounds(self, come: list[int], now: float) -> StepBounds:
        """Of the next step, for which interactive texts of these lengths have come."""
        feed, bulk = self._feed, Priority.BULK
        self._gives_way = bool(come) and not self._gives_way
        alone = StepBounds.full(self._pace.tokens_in(feed.alone_s, feed.step_tokens))
        if now - self._last_interactive >= feed.linger_s or not self.queued_tokens_of(bulk):
            return alone
        quantum = self._quantum
        if not self._gives_way:
            return StepBounds(quantum, quantum)
        # A bulk text that has begun goes on, too, by no more than those need that have come.
        return StepBounds(feed.free_tokens, min(quantum, max(feed.free_tokens, *come)), bulk_gives_way=True)
