"""Load over time for the autoscaling simulator: made from a seed, scaled to the size of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TraceName = Literal["diurnal", "burst", "bulk-flood", "replica-loss", "slow-cold-start"]
Series = NDArray[np.float64]

STEP_S = 0.5
REPLICA_TOKENS_PER_S = 50_000.0  # of a typical replica that computes full steps
COLD_START_S = 60.0  # what the policies are told
LATE_START_S = 240.0  # what a replica really takes where starts are slow: a node has to come first
SHORT_TOKENS, SHORT_SPREAD = 200.0, 1.3  # of one interactive request; the spread in means
BULK_TOKENS, BULK_SPREAD = 8_000.0, 0.3
NOISE, NOISE_LASTS_S = 0.05, 60.0  # slow noise on every load, beside that of single requests


@dataclass(frozen=True, slots=True)
class Trace:
    """What arrives in each step of STEP_S, and which share of the running replicas dies when."""

    name: TraceName
    fleet: int  # the most replicas there may be
    tokens: Series  # (steps,)
    requests: Series  # (steps,)
    losses: tuple[tuple[float, float], ...] = ()  # (seconds, share)
    cold_start_s: float = COLD_START_S

    @property
    def steps(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Loads as shares of the fleet, before noise; the rest as in `Trace`."""

    short: Series
    bulk: Series
    losses: tuple[tuple[float, float], ...] = ()
    cold_start_s: float = COLD_START_S


def make(name: TraceName, fleet: int, seed: int) -> Trace:
    """The same arguments give the same trace."""
    rng = np.random.default_rng((seed, fleet, TRACES.index(name)))
    shape = _SHAPES[name](rng)
    short = _arrivals(shape.short * fleet, SHORT_TOKENS, SHORT_SPREAD, rng)
    bulk = _arrivals(shape.bulk * fleet, BULK_TOKENS, BULK_SPREAD, rng)
    return Trace(name, fleet, short[0] + bulk[0], short[1] + bulk[1], shape.losses, shape.cold_start_s)


def _arrivals(load: Series, tokens: float, spread: float, rng: np.random.Generator) -> tuple[Series, Series]:
    """(tokens, requests) of each step for a load in replicas."""
    expected = load * _slow_noise(len(load), rng) * REPLICA_TOKENS_PER_S * STEP_S / tokens
    requests = rng.poisson(expected).astype(np.float64)
    sizes = tokens * (requests + spread * np.sqrt(requests) * rng.standard_normal(len(load)))
    return np.maximum(sizes, requests), requests


def _slow_noise(steps: int, rng: np.random.Generator) -> Series:
    """Factors around 1 that change over NOISE_LASTS_S."""
    kernel = np.exp(-np.arange(0.0, 5 * NOISE_LASTS_S, STEP_S) / NOISE_LASTS_S)
    kernel /= np.sqrt((kernel**2).sum())
    noise = np.convolve(rng.standard_normal(steps + len(kernel)), kernel, "valid")[:steps]
    return np.asarray(np.clip(1.0 + NOISE * noise, 0.5, 1.5), dtype=np.float64)


def _diurnal(rng: np.random.Generator) -> _Shape:
    """A day in two hours: from night to noon and back, with a random phase."""
    at = _seconds(7200.0)
    day = 0.5 - 0.5 * np.cos(2 * np.pi * (at / 7200.0 + rng.uniform(-0.1, 0.1)))
    return _Shape(0.1 + 0.6 * day, np.zeros_like(at))


def _burst(rng: np.random.Generator) -> _Shape:
    return _Shape(_bursts(rng), np.zeros(len(_seconds(3600.0))))


def _bulk_flood(rng: np.random.Generator) -> _Shape:
    """Beside a steady load two jobs, whose documents are parsed at the rate of half a fleet."""
    at = _seconds(3600.0)
    bulk = np.zeros_like(at)
    for begin in (rng.uniform(300.0, 900.0), rng.uniform(2000.0, 2400.0)):
        bulk[(at >= begin) & (at < begin + rng.uniform(300.0, 700.0))] = rng.uniform(0.4, 0.6)
    return _Shape(np.full_like(at, 0.15), bulk)


def _replica_loss(rng: np.random.Generator) -> _Shape:
    at = _seconds(3600.0)
    losses = tuple((float(when), float(rng.uniform(0.25, 0.5))) for when in rng.uniform((300, 1500), (1200, 3000)))
    return _Shape(np.full_like(at, 0.5), np.zeros_like(at), losses)


def _slow_cold_start(rng: np.random.Generator) -> _Shape:
    return _Shape(_bursts(rng), np.zeros(len(_seconds(3600.0))), cold_start_s=LATE_START_S)


def _bursts(rng: np.random.Generator) -> Series:
    """From a fifth of the fleet to more than half of it within ten seconds, twice, for some minutes each."""
    at = _seconds(3600.0)
    load = np.full_like(at, 0.2)
    for begin in (rng.uniform(300.0, 900.0), rng.uniform(2000.0, 2500.0)):
        rises = np.clip((at - begin) / 10.0, 0.0, 1.0) * (at < begin + rng.uniform(300.0, 600.0))
        load += rng.uniform(0.3, 0.5) * rises
    return load


def _seconds(duration_s: float) -> Series:
    return np.arange(0.0, duration_s, STEP_S, dtype=np.float64)


_SHAPES: dict[TraceName, Callable[[np.random.Generator], _Shape]] = {
    "diurnal": _diurnal,
    "burst": _burst,
    "bulk-flood": _bulk_flood,
    "replica-loss": _replica_loss,
    "slow-cold-start": _slow_cold_start,
}
TRACES: tuple[TraceName, ...] = tuple(_SHAPES)
