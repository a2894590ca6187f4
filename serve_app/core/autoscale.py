"""How many replicas a model needs: a pure function of its backlog and its speed, both in tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from serve_app.core.autoscale_signals import Load, Memory, observe
from serve_app.core.recent_peak import highest, with_level

DOWNSCALE_MARGIN = 1.1  # fewer replicas must carry so many times the work before the others go


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
class _Need:
    """Replicas, not rounded and not bounded."""

    steady: float  # for what arrives
    now: float  # for that, and for working the backlog off


def decide(load: Load, bounds: Bounds, memory: Memory) -> tuple[int, Memory]:
    """(replicas wanted, within the bounds; what to hand to the next decision)."""
    memory = observe(load, memory)
    need = _need(load, bounds, memory)
    enough = _whole(need.steady * DOWNSCALE_MARGIN, load)  # for going down to
    needed = min(_whole(need.now, load), bounds.max_replicas)
    wanted = max(load.wanted, needed)
    if load.wanted <= enough or needed > load.wanted:
        memory = replace(memory, low_since=None, low_parts=[])
    else:
        wanted, memory = _lower(load, bounds, memory, enough, needed)
    return min(max(wanted, bounds.min_replicas), bounds.max_replicas), memory


def _is_late(load: Load, bounds: Bounds, memory: Memory) -> bool:
    """What waits takes the replicas that run longer than the target: none of them may go now."""
    return load.queued_tokens > bounds.target_wait_s * max(1, load.running) * memory.speed_tokens_per_s


def _lower(load: Load, bounds: Bounds, memory: Memory, enough: int, needed: int) -> tuple[int, Memory]:
    """Replicas wanted, fewer than there are only if fewer were enough for long: the most that were, lately.

    Those that only work a backlog off count in that time: when it is gone, they go soon.
    """
    since = load.now if memory.low_since is None else memory.low_since
    before = [] if memory.low_since is None else memory.low_parts
    parts = with_level(before, load.now, enough, bounds.downscale_after_s)
    memory = replace(memory, low_since=since, low_parts=parts)
    if load.now - since < bounds.downscale_after_s or _is_late(load, bounds, memory):
        return load.wanted, memory
    return min(load.wanted, max(highest(parts), needed)), memory


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
    most = float(bounds.max_replicas if memory.is_speed_proven else max(1, load.wanted))
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
