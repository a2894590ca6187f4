"""What autoscaling sees of a model's replicas at one moment, and what it makes of many: speed, rate and growth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import exp, isfinite

SMOOTHING_S = 5.0  # what was done so long ago counts 1/e of what is done now
GROWTH_WINDOW_S = 5.0  # a backlog grows steadily if it did so in two windows on end; in one it may have been a jump
FULL_STEPS_BACKLOG_S = 0.25  # with so much work waiting, engines compute full steps,
FULL_STEPS_AFTER_S = 3.0  # and after so long their speed says so
SPEED_FALLS_OVER_S = 30.0  # a lower speed is believed only so slowly


@dataclass(frozen=True, slots=True)
class Load:
    """What the cluster looks like at one moment, `now` in seconds on any steady clock.

    `running` replicas serve, `wanted` is the number last decided on (the difference is starting or leaving).
    `queued_tokens` wait anywhere: in Routers and in replicas. `done_tokens_per_s` is what all replicas together did
    lately; `speed_tokens_per_s` what one of them computes while busy, 0.0 while nobody knows.
    """

    now: float
    running: int
    wanted: int
    queued_tokens: float
    done_tokens_per_s: float
    speed_tokens_per_s: float

    @property
    def has_work(self) -> bool:
        return self.queued_tokens > 0.0 or self.done_tokens_per_s > 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next. Numbers and lists of them only: Serve keeps it as JSON."""

    low_since: float | None = None  # since when fewer replicas than there are would have been enough
    low_parts: list[list[float]] = field(default_factory=list)  # how many that were, as `recent_peak` keeps levels
    speed_tokens_per_s: float = 0.0  # of one busy replica, as known last
    is_speed_proven: bool = False  # seen while there was enough to do for full steps; otherwise replicas may be faster
    full_since: float | None = None  # since when there is enough to do for full steps
    decided_at: float | None = None
    starting_since: float | None = None  # since when fewer replicas run than are wanted
    done_tokens_per_s: float = 0.0  # smoothed
    window_began: float = 0.0  # the window over which the growth of the backlog is being measured
    window_queued_tokens: float = 0.0  # as it began
    growth_tokens_per_s: float = 0.0  # of the backlog, over the last whole window
    growth_before_tokens_per_s: float = 0.0  # and over the one before


def observe(load: Load, memory: Memory) -> Memory:
    """The memory with this moment in it; nearly a new one if the clock went back, as it does on another machine."""
    elapsed_s = load.now - memory.decided_at if memory.decided_at is not None else -1.0
    if elapsed_s < 0.0:
        memory = Memory(
            speed_tokens_per_s=memory.speed_tokens_per_s,
            is_speed_proven=memory.is_speed_proven,
            done_tokens_per_s=load.done_tokens_per_s,
            window_began=load.now,
            window_queued_tokens=load.queued_tokens,
        )
        elapsed_s = 0.0
    memory = replace(
        memory,
        decided_at=load.now,
        starting_since=_since(memory.starting_since, load.now, load.running < load.wanted),
        done_tokens_per_s=_nearer(memory.done_tokens_per_s, load.done_tokens_per_s, elapsed_s / SMOOTHING_S),
    )
    return _clocked(_grown(memory, load), load, elapsed_s)


def _grown(memory: Memory, load: Load) -> Memory:
    """With the growth of the backlog over the window, if that is whole."""
    elapsed_s = load.now - memory.window_began
    if elapsed_s < GROWTH_WINDOW_S:
        return memory
    return replace(
        memory,
        window_began=load.now,
        window_queued_tokens=load.queued_tokens,
        growth_tokens_per_s=(load.queued_tokens - memory.window_queued_tokens) / elapsed_s,
        growth_before_tokens_per_s=memory.growth_tokens_per_s,
    )


def _clocked(memory: Memory, load: Load, elapsed_s: float) -> Memory:
    """With the speed of a busy replica; what was known stays while nothing, or nothing sensible, is reported.

    Engines that compute small steps, because there is little to do, look slow. Were that believed, more replicas would
    be asked for, with less to do for each, which would then look slower still. So without a backlog a speed is the
    least that a replica can do: it may rise, and does not fall.
    """
    reported, known = load.speed_tokens_per_s, memory.speed_tokens_per_s
    if not isfinite(reported) or reported <= 0.0:
        return memory
    is_full = load.queued_tokens >= FULL_STEPS_BACKLOG_S * max(known, reported) * max(1, load.running)
    full_since = _since(memory.full_since, load.now, is_full)
    tells = full_since is not None and load.now - full_since >= FULL_STEPS_AFTER_S
    if known <= 0.0:
        speed = reported
    elif reported >= known:
        speed = _nearer(known, reported, elapsed_s / SMOOTHING_S)
    else:
        speed = _nearer(known, reported, elapsed_s / SPEED_FALLS_OVER_S) if tells else known
    return replace(
        memory, speed_tokens_per_s=speed, full_since=full_since, is_speed_proven=memory.is_speed_proven or tells
    )


def _nearer(value: float, to: float, time_constants: float) -> float:
    return to + exp(-time_constants) * (value - to)


def _since(before: float | None, now: float, holds: bool) -> float | None:
    """Since when something holds; None while it does not."""
    if not holds:
        return None
    return now if before is None else before
