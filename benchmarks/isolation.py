"""Does a bulk flood slow interactive requests, and do they slow it? `python -m benchmarks.isolation`, about 5 minutes.

The flood is a fixed number of requests, so its rate is known exactly; the interactive clients run as long as it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Annotated

import numpy as np
import typer

from benchmarks import http_client, launch, texts, trials
from benchmarks.contestants import Server
from benchmarks.http_client import Sample
from benchmarks.load import LoadFailed, Target
from benchmarks.trials import Outcome, Plan

CLIENTS = (1, 4)  # interactive clients
PAUSE_S = 0.2  # of a client between two requests: without it the clients would take the engine's time by their number
FLOOD_CONNECTIONS, FLOOD_TEXTS = 4, 256
RAMP_S = 0.5  # interactive answers before the flood has filled the cluster do not count
WARM_UP_S = 2.0
PERCENTILES = (*range(0, 100), 99.5, 100)


def main(
    count_trials: Annotated[int, typer.Option("--trials", min=1, help="The report wants five or more.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a load without the flood.")] = 8.0,
    flood: Annotated[int, typer.Option(min=4, help="Requests of one flood, 256 texts each.")] = 12,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure interactive latency alone and beside a bulk flood, and what the flood keeps of its rate."""
    plan = Plan("isolation", count_trials, {"seconds": seconds, "flood_requests": flood}, resume)

    def start(stack: ExitStack) -> Server:
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE))

    def measure(server: Server) -> Callable[[int], Outcome]:
        loads = Loads(server.target, seconds, flood)
        http_client.run(loads.alone(max(CLIENTS), WARM_UP_S))
        return lambda number: http_client.run(loads.trial(number))

    trials.run(plan, start, measure)


class Loads:
    """The loads of one cluster. No text is sent twice."""

    def __init__(self, target: Target, seconds: float, flood: int) -> None:
        self._target, self._seconds, self._flood = target, seconds, flood
        self._serials = count(1)
        self._bulk_serials = count(1_000_000, FLOOD_TEXTS)

    async def trial(self, number: int) -> Outcome:
        """Every load once, in an order that turns from trial to trial."""
        alone: dict[int, list[float]] = {}
        beside: dict[int, tuple[list[float], float]] = {}
        bulk_alone = 0.0
        for clients in (CLIENTS, CLIENTS[::-1])[number % 2]:
            alone[clients] = await self.alone(clients, self._seconds)
        if number % 2:
            bulk_alone = (await self._beside(0))[1]
        for clients in CLIENTS:
            beside[clients] = await self._beside(clients)
        bulk_alone = bulk_alone or (await self._beside(0))[1]
        return outcome(alone, beside, bulk_alone)

    async def alone(self, clients: int, seconds: float) -> list[float]:
        """Latencies in seconds."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        samples = await http_client.closed_loop(self._target, self._short(), clients, lambda: clock() < end, PAUSE_S)
        return [sample.latency_s for sample in samples]

    async def _beside(self, clients: int) -> tuple[list[float], float]:
        """(latencies in seconds, bulk texts a second) of interactive `clients` beside a whole flood."""
        bodies = [
            texts.body(self._target.model, FLOOD_TEXTS, next(self._bulk_serials), "bulk") for _ in range(self._flood)
        ]
        under_way = True
        flooding = asyncio.create_task(
            http_client.closed_loop(self._target, iter(bodies), FLOOD_CONNECTIONS, lambda: True)
        )
        if clients == 0:
            return [], rate(await flooding)
        interactive = asyncio.create_task(
            http_client.closed_loop(self._target, self._short(), clients, lambda: under_way, PAUSE_S)
        )
        try:
            bulk = await flooding
        finally:
            under_way = False
            samples = await interactive
        return while_flooded(samples, bulk), rate(bulk)

    def _short(self) -> Iterator[bytes]:
        return (texts.body(self._target.model, 1, serial, "interactive") for serial in self._serials)


def rate(bulk: list[Sample]) -> float:
    """Texts a second of a whole flood."""
    return len(bulk) * FLOOD_TEXTS / max(sample.ended_s for sample in bulk)


def while_flooded(samples: list[Sample], bulk: list[Sample]) -> list[float]:
    """Latencies of the requests sent while all connections of the flood were busy. Raises LoadFailed for none."""
    last_start = max(sample.due_s for sample in bulk)
    end = min(sample.ended_s for sample in bulk if sample.ended_s > last_start)
    latencies = [sample.latency_s for sample in samples if RAMP_S <= sample.due_s < end]
    if not latencies:
        raise LoadFailed("No interactive request was answered beside the flood: choose a longer --flood.")
    return latencies


def outcome(alone: dict[int, list[float]], beside: dict[int, tuple[list[float], float]], bulk_alone: float) -> Outcome:
    """Figures of one trial; latencies are in seconds, by the number of interactive connections."""
    figures = {"bulk_alone": bulk_alone}
    series = {"percentiles": [float(p) for p in PERCENTILES]}
    for clients, (latencies, bulk) in beside.items():
        quiet, loud = (np.percentile(np.array(values) * 1e3, PERCENTILES) for values in (alone[clients], latencies))
        series |= {f"alone_{clients}": quiet.tolist(), f"flood_{clients}": loud.tolist()}
        figures |= {
            f"p50_alone_{clients}": float(quiet[50]),
            f"p50_flood_{clients}": float(loud[50]),
            f"p99_alone_{clients}": float(quiet[99]),
            f"p99_flood_{clients}": float(loud[99]),
            f"p99_ratio_{clients}": float(loud[99] / quiet[99]),
            f"bulk_{clients}": bulk,
            f"kept_{clients}": bulk / bulk_alone,
        }
    return Outcome(figures, series)


if __name__ == "__main__":
    typer.run(main)
