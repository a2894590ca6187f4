"""How many replicas a model needs: a pure function of its backlog and its speed, both in tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, exp, isfinite

DOWNSCALE_MARGIN = 1.1  # fewer replicas must carry so many times the work before the others go
SMOOTHING_S = 5.0  # what was done so long ago counts 1/e of what is done now
GROWTH_WINDOW_S = 5.0  # a backlog grows steadily if it did so in two windows on end; in one it may have been a jump
FULL_STEPS_BACKLOG_S = 0.25  # with so much work waiting, engines compute full steps,
FULL_STEPS_AFTER_S = 3.0  # and after so long their speed says so
SPEED_FALLS_OVER_S = 30.0  # a lower speed is believed only so slowly


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an operator allows; the fields of `AutoscalingSettings`.

    `target_utilisation` is the part of its replicas' time that steady work may take; the rest is there for bursts.
    """

    min_replicas: int
    max_replicas: int
    target_wait_s: float
    cold_start_s: float
    downscale_after_s: float
    target_utilisation: float = 0.75


@dataclass(frozen=True, slots=True)
class Load:
    """What the cluster looks like at one moment, `now` in seconds on any steady clock.

    `running` replicas serve, `wanted` is the number last decided on (the difference is starting or leaving).
    `queued_tokens` wait anywhere: in Routers and in replicas. `done_tokens_per_s` is what all replicas together did
    lately; `speed_tokens_per_s` what one of them computes while busy, 0.0 while nobody knows.
    `parked_requests` wait at Serve itself, which holds them only while no replica runs.
    """

    now: float
    running: int
    wanted: int
    queued_tokens: float
    done_tokens_per_s: float
    speed_tokens_per_s: float
    parked_requests: float = 0.0

    @property
    def has_work(self) -> bool:
        return self.queued_tokens > 0.0 or self.done_tokens_per_s > 0.0 or self.parked_requests > 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next. Numbers only: Serve keeps it as JSON."""

    low_since: float | None = None  # since when fewer replicas than there are would have been enough
    low_peak: int = 0  # the most that were needed since then
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


@dataclass(frozen=True, slots=True)
class _Need:
    """Replicas, not rounded and not bounded."""

    steady: float  # for what arrives
    now: float  # for that, and for working the backlog off


def decide(load: Load, bounds: Bounds, memory: Memory) -> tuple[int, Memory]:
    """(replicas wanted, within the bounds; what to hand to the next decision)."""
    memory = _observe(load, memory)
    need = _need(load, bounds, memory)
    enough = _whole(need.steady * DOWNSCALE_MARGIN, load)  # for going down to
    wanted = max(load.wanted, _whole(need.now, load))
    if wanted <= enough:
        memory = replace(memory, low_since=None, low_peak=0)
    else:
        wanted, memory = _lower(load, bounds, memory, enough, _whole(need.now, load))
    return min(max(wanted, bounds.min_replicas), bounds.max_replicas), memory


def _is_late(load: Load, bounds: Bounds, memory: Memory) -> bool:
    """What waits takes the replicas that run longer than the target: none of them may go now."""
    return load.queued_tokens > bounds.target_wait_s * max(1, load.running) * memory.speed_tokens_per_s


def _lower(load: Load, bounds: Bounds, memory: Memory, enough: int, needed: int) -> tuple[int, Memory]:
    """Replicas wanted, more than the steady work needs: down to the most it needed, once that was less for long enough.

    Those that only work a backlog off count in that time: when it is gone, they go soon.
    """
    wanted = max(load.wanted, needed)
    since = load.now if memory.low_since is None else memory.low_since
    peak = max(memory.low_peak, enough)
    if load.now - since < bounds.downscale_after_s or _is_late(load, bounds, memory):
        return wanted, replace(memory, low_since=since, low_peak=peak)
    return min(wanted, max(peak, needed)), replace(memory, low_since=load.now, low_peak=enough)


def _need(load: Load, bounds: Bounds, memory: Memory) -> _Need:
    speed = memory.speed_tokens_per_s
    if not load.has_work:
        return _Need(0.0, 0.0)
    if speed <= 0.0:
        return _Need(load.wanted, _probing(load))
    arriving = max(0.0, memory.done_tokens_per_s + min(memory.growth_tokens_per_s, memory.growth_before_tokens_per_s))
    tolerated = bounds.target_wait_s * arriving
    drained_in_s = max(bounds.target_wait_s, bounds.cold_start_s)
    late = max(0.0, _backlog_when_started(load, bounds, memory, arriving) - tolerated) / drained_in_s
    need = _Need(arriving / bounds.target_utilisation / speed, (arriving + late) / speed)
    most = float("inf") if memory.is_speed_proven else float(max(1, load.wanted))
    return _Need(min(need.steady, most), min(max(need.steady, need.now), most))


def _backlog_when_started(load: Load, bounds: Bounds, memory: Memory, arriving: float) -> float:
    """Tokens that will wait once a replica asked for first serves.

    What arrives until then and finds nobody free is counted in advance, and less of it as the time passes and it joins
    the queue: so it is counted once, and a backlog that grows while replicas start asks for no more of them.
    """
    started_s = 0.0 if memory.starting_since is None else load.now - memory.starting_since
    unserved = max(0.0, arriving - load.running * memory.speed_tokens_per_s)
    return load.queued_tokens + unserved * max(0.0, bounds.cold_start_s - started_s)


def _probing(load: Load) -> int:
    """One more than there are while the speed is unknown, and no further one before that serves."""
    return max(1, load.wanted, load.running + 1 if load.queued_tokens > 0.0 else 0)


def _whole(needed: float, load: Load) -> int:
    """Work of any size needs one replica."""
    return max(1 if load.has_work else 0, ceil(needed - 1e-9))


def _observe(load: Load, memory: Memory) -> Memory:
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
