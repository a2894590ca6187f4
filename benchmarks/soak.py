"""Does memory grow under a steady load? `python -m benchmarks.soak` takes a quarter of an hour.

The Router's cache is small here, so that it is full, and evicts, long before growth is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Annotated

import numpy as np
import typer

from benchmarks import http_client, launch, texts, trials
from benchmarks.contestants import Server
from benchmarks.trials import Outcome, Plan
from benchmarks.usage import EMBEDDER, ROUTER, Replica, find_replica

CONNECTIONS = 16
CACHE_MIB = 8
LOOK_EVERY_S = 5.0
WARM_UP_S, WARM_UP_SHARE = 300.0, 0.4  # of the whole, where that is less; allocators fill up for minutes


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="Length of the load.")] = 15.0,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure how the memory of Router and Embedder grows while short texts keep coming."""
    plan = Plan("soak", 1, {"minutes": minutes, "connections": CONNECTIONS, "cache_mib": CACHE_MIB}, resume)

    def start(stack: ExitStack) -> Server:
        config = {"router": {"cache_mib": CACHE_MIB}}
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE), config)

    def measure(server: Server) -> Callable[[int], Outcome]:
        return lambda _: http_client.run(_soak(server, minutes * 60))

    trials.run(plan, start, measure)


async def _soak(server: Server, seconds: float) -> Outcome:
    replicas = {"router": find_replica(server.process, ROUTER), "embedder": find_replica(server.process, EMBEDDER)}
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    bodies = (texts.body(server.target.model, 1, serial) for serial in count(1))
    watching = asyncio.create_task(_watch(replicas, end))
    samples = await http_client.closed_loop(server.target, bodies, CONNECTIONS, lambda: clock() < end)
    series = await watching
    return outcome(series, len(samples) / seconds, min(WARM_UP_S, WARM_UP_SHARE * seconds))


async def _watch(replicas: dict[str, Replica], end: float) -> dict[str, list[float]]:
    """Resident MiB of each replica and the seconds since the start, every LOOK_EVERY_S until `end`."""
    clock = asyncio.get_running_loop().time
    started = clock()
    series: dict[str, list[float]] = {"seconds": [], **{name: [] for name in replicas}}
    while clock() < end:
        series["seconds"].append(clock() - started)
        for name, replica in replicas.items():
            series[name].append(replica.rss_mib())
        await asyncio.sleep(LOOK_EVERY_S)
    return series


def outcome(series: dict[str, list[float]], requests_per_s: float, warm_up_s: float) -> Outcome:
    """Figures of one soak. `series` holds `seconds` and, in MiB, `router` and `embedder`."""
    figures = {"requests_per_s": requests_per_s}
    for name in ("router", "embedder"):
        figures[f"{name}_slope"] = slope_per_minute(series["seconds"], series[name], warm_up_s)
        figures[f"{name}_mib"] = series[name][-1]
    return Outcome(figures, series)


def slope_per_minute(seconds: Sequence[float], values: Sequence[float], after_s: float) -> float:
    """The least-squares slope of the values from `after_s` on; 0 for fewer than two of them."""
    points = [(second / 60, value) for second, value in zip(seconds, values, strict=True) if second >= after_s]
    if len(points) < 2:
        return 0.0
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])


if __name__ == "__main__":
    typer.run(main)
