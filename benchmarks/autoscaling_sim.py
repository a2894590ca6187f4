"""A fleet of replicas that computes a trace under an autoscaling policy, in steps of `STEP_S`.

Replicas are told apart (each has its speed and its start); the work is a fluid that waits in one queue, first come,
first served. A policy sees what a real one would: figures that are pushed now and then and arrive late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.autoscaling_traces import REPLICA_TOKENS_PER_S, SHORT_TOKENS, STEP_S, Series, Trace

SPEED_SPREAD = 0.05  # between replicas
START_SPREAD = 0.2  # between cold starts
METRIC_DELAY_S = 0.5  # from a push to its arrival
DECIDED_EVERY = 2  # steps
DONE_WINDOW_S = 5.0  # over which replicas count what they did
SHORTEST_STEP_S = 0.01  # of an engine, however little there is to compute
FULL_STEP_TOKENS = 16_384.0
SPEED_LAG_S = 3.0  # of what replicas say about their speed
STEPS_OF_A_REQUEST = 1.5  # it waits for half a step and is computed in the next
INITIAL_UTILISATION = 0.7


@dataclass(frozen=True, slots=True)
class Seen:
    """What a policy knows when it decides: the numbers of replicas as they are, the rest as last pushed."""

    now: float
    running: int
    wanted: int
    queued_tokens: float
    done_tokens_per_s: float
    speed_tokens_per_s: float
    ongoing: Series  # requests that wait or are computed, one value a step, up to the last push
    ongoing_until: float  # when the last of them was recorded


class Policy(Protocol):
    """Asked every second how many replicas there should be. `push_s` is how often figures are pushed to it."""

    push_s: float

    def __call__(self, seen: Seen, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One value a step each, (steps,)."""

    trace: Trace
    done: Series  # tokens
    running: Series
    held: Series  # replicas that occupy their GPUs: running or starting
    wanted: Series

    @property
    def waiting(self) -> Series:
        """Tokens in the queue at the end of each step."""
        return np.cumsum(self.trace.tokens) - np.cumsum(self.done)

    def waits(self) -> Series:
        """Seconds that what arrived in each step waited; for what was never done, those until the trace ended."""
        ends = np.arange(1, self.trace.steps + 1) * STEP_S
        arrived, done = np.cumsum(self.trace.tokens), np.cumsum(self.done)
        # The queue that a step leaves behind is gone once as much has been done as had arrived; steps that do nothing
        # would leave that moment open, so each counts a vanishing amount.
        left = np.interp(arrived, done + 1e-6 * ends, ends, right=ends[-1])
        return np.where(self.waiting > 1e-3, np.maximum(left - ends, 0.0), 0.0)


class Fleet:
    """The replicas of one model: running ones, and those on their way."""

    def __init__(self, cold_start_s: float, rng: np.random.Generator) -> None:
        self._cold_start_s = cold_start_s
        self._rng = rng
        self._ready_at = np.empty(0)
        self._speeds = np.empty(0)

    def __len__(self) -> int:
        return len(self._ready_at)

    def running(self, now: float) -> int:
        return int(np.searchsorted(self._ready_at, now, "right"))

    def tokens_per_s(self, now: float) -> float:
        return float(self._speeds[: self.running(now)].sum())

    def scale(self, wanted: int, now: float) -> None:
        """Up with a cold start each; down the youngest first, so that those on their way go before those that run."""
        more = wanted - len(self)
        if more > 0:
            starts = now + self._cold_start_s * np.exp(START_SPREAD * self._rng.standard_normal(more))
            self._add(starts)
        else:
            self._ready_at, self._speeds = self._ready_at[:wanted], self._speeds[:wanted]

    def begin(self, replicas: int) -> None:
        self._add(np.zeros(replicas))

    def lose(self, share: float, now: float) -> None:
        running = self.running(now)
        kept = np.ones(len(self), dtype=bool)
        kept[self._rng.choice(running, size=round(running * share), replace=False)] = False
        self._ready_at, self._speeds = self._ready_at[kept], self._speeds[kept]

    def _add(self, ready_at: Series) -> None:
        speeds = REPLICA_TOKENS_PER_S * (1.0 + SPEED_SPREAD * self._rng.standard_normal(len(ready_at)))
        ready = np.concatenate([self._ready_at, ready_at])
        order = np.argsort(ready, kind="stable")
        self._ready_at, self._speeds = ready[order], np.concatenate([self._speeds, speeds])[order]


class _Gauges:
    """What the cluster measures, and how much of it has been pushed."""

    def __init__(self, trace: Trace, push_s: float, rng: np.random.Generator) -> None:
        self._arrived = np.cumsum(trace.tokens)
        self._requests = np.cumsum(trace.requests)
        self._push_steps = max(1, round(push_s / STEP_S))
        self._delay_steps = round(METRIC_DELAY_S / STEP_S)
        self._rng = rng
        self._ongoing = np.zeros(trace.steps)
        self._done = np.zeros(trace.steps + 1)  # all that was done before each step
        self._speeds = np.zeros(trace.steps)

    def record(self, step: int, done: float, running: int, capacity: float) -> None:
        """`done` tokens of this step, which could have been `capacity`."""
        self._done[step + 1] = self._done[step] + done
        finished = float(np.interp(self._done[step + 1], self._arrived, self._requests))
        request_tokens = max(1.0, self._arrived[step] / max(1.0, self._requests[step]))
        utilisation = done / capacity if capacity else 0.0
        engine_step_s = min(SHORTEST_STEP_S / max(1e-9, 1.0 - utilisation), FULL_STEP_TOKENS / REPLICA_TOKENS_PER_S)
        computed = done / STEP_S / request_tokens * STEPS_OF_A_REQUEST * engine_step_s
        self._ongoing[step] = max(0.0, self._requests[step] - finished) + computed
        speed = self._speed(utilisation, engine_step_s, max(1, running), capacity)
        before = self._speeds[step - 1] if step else speed
        self._speeds[step] = speed + math.exp(-STEP_S / SPEED_LAG_S) * (before - speed)

    def _speed(self, utilisation: float, engine_step_s: float, running: int, capacity: float) -> float:
        """Of one replica while it computes: less than it could, with steps that are not full."""
        full = capacity / STEP_S / running
        step_tokens = min(FULL_STEP_TOKENS, max(SHORT_TOKENS, utilisation * full * engine_step_s))
        overhead_tokens = SHORTEST_STEP_S * REPLICA_TOKENS_PER_S
        fullness = step_tokens / (step_tokens + overhead_tokens) * (1.0 + overhead_tokens / FULL_STEP_TOKENS)
        return full * fullness * (1.0 + 0.03 * float(self._rng.standard_normal()))

    def seen(self, step: int, running: int, wanted: int) -> Seen:
        pushed = max(0, (step - self._delay_steps) // self._push_steps * self._push_steps)
        window = min(pushed, round(DONE_WINDOW_S / STEP_S))
        did = self._done[pushed] - self._done[pushed - window]
        return Seen(
            now=step * STEP_S,
            running=running,
            wanted=wanted,
            queued_tokens=max(0.0, self._arrived[pushed - 1] - self._done[pushed]) if pushed else 0.0,
            done_tokens_per_s=did / (window * STEP_S) if window else 0.0,
            speed_tokens_per_s=self._speeds[pushed - 1] if pushed else 0.0,
            ongoing=self._ongoing[:pushed],
            ongoing_until=pushed * STEP_S,
        )


def simulate(trace: Trace, policy: Policy, seed: int) -> Run:
    """The same arguments give the same run, if the policy is as deterministic."""
    rng = np.random.default_rng((seed, trace.fleet, 7))
    fleet, gauges = Fleet(trace.cold_start_s, rng), _Gauges(trace, policy.push_s, rng)
    wanted = initial_replicas(trace)
    fleet.begin(wanted)
    series = np.zeros((4, trace.steps))
    losses = {int(at / STEP_S): share for at, share in trace.losses}
    queue = 0.0
    for step in range(trace.steps):
        now = step * STEP_S
        if step in losses:
            fleet.lose(losses[step], now)
        if step % DECIDED_EVERY == 0:
            wanted = policy(gauges.seen(step, fleet.running(now), wanted))
        fleet.scale(wanted, now)
        queue += trace.tokens[step]
        running, capacity = fleet.running(now), fleet.tokens_per_s(now) * STEP_S
        done = min(queue, capacity)
        queue -= done
        gauges.record(step, done, running, capacity)
        series[:, step] = done, running, len(fleet), wanted
    return Run(trace, *series)


def initial_replicas(trace: Trace) -> int:
    """What the first five minutes need: every run begins settled."""
    load = float(trace.tokens[: round(300 / STEP_S)].mean()) / STEP_S / REPLICA_TOKENS_PER_S
    return min(trace.fleet, max(1, round(load / INITIAL_UTILISATION + 0.5)))
