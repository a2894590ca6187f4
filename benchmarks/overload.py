"""What happens at three times the load the cluster can carry? `python -m benchmarks.overload`, about 4 minutes.

The queue limits are small, so that they are reached within the second or two that a load has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Annotated

import numpy as np
import typer

from benchmarks import http_client, launch, texts, trials
from benchmarks.contestants import Server
from benchmarks.http_client import Sample
from benchmarks.load import LoadFailed, Target
from benchmarks.trials import Outcome, Plan

LIMITS = {"max_queued_tokens": 16_384, "max_wait_s": 2.0}
SIZES = {"long": 16}  # texts of a request: with one short text, client and refusals would take the cores of the engine
CAPACITY_CONNECTIONS = {"long": 4}
OVERLOAD, CALM = 3.0, 0.5  # offered ÷ capacity, during and after
RAMP_S = 1.0  # the first second fills the queue and does not count as goodput
RECOVERY_LIMIT_S, BIN_S = 4.0, 0.5
WARM_UP_S = 2.0


def main(
    count_trials: Annotated[int, typer.Option("--trials", min=1, help="The report wants five or more.")] = 5,
    seconds: Annotated[float, typer.Option(min=2, help="Length of the load for capacity and of the overload.")] = 4.0,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure goodput, refusals and recovery when more is offered than can be carried."""
    plan = Plan("overload", count_trials, {"seconds": seconds, **LIMITS}, resume)

    def start(stack: ExitStack) -> Server:
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE), {"limits": LIMITS})

    def measure(server: Server) -> Callable[[int], Outcome]:
        serials = count(1)
        for size in SIZES:
            http_client.run(_capacity(Load(server.target, size, WARM_UP_S, 0, serials)))

        def one(number: int) -> Outcome:
            figures: dict[str, float] = {}
            for size in SIZES:
                figures |= http_client.run(_overload(Load(server.target, size, seconds, number, serials)))
            return Outcome(figures)

        return one

    trials.run(plan, start, measure)


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one size. `serials` numbers the texts of the whole run, so that none is sent twice."""

    target: Target
    size: str
    seconds: float
    seed: int
    serials: Iterator[int]

    def bodies(self) -> Iterator[bytes]:
        number = SIZES[self.size]
        return (texts.body(self.target.model, number, serial * number) for serial in self.serials)


async def _capacity(load: Load) -> float:
    """Answers a second in a closed loop: what the cluster can carry."""
    clock = asyncio.get_running_loop().time
    started = clock()
    connections = CAPACITY_CONNECTIONS[load.size]
    samples = await http_client.closed_loop(
        load.target, load.bodies(), connections, lambda: clock() < started + load.seconds
    )
    return len(samples) / (clock() - started)


async def _overload(load: Load) -> dict[str, float]:
    capacity = await _capacity(load)
    calm = await http_client.open_loop(load.target, load.bodies(), CALM * capacity, load.seconds / 2, load.seed)
    cpu_s, started = time.process_time(), time.perf_counter()
    flood = asyncio.create_task(
        http_client.open_loop(load.target, load.bodies(), OVERLOAD * capacity, load.seconds, load.seed)
    )
    await asyncio.sleep(load.seconds)  # answers may still be under way when the load drops
    after = await http_client.open_loop(load.target, load.bodies(), CALM * capacity, RECOVERY_LIMIT_S, load.seed)
    overload = await flood
    client_cpus = (time.process_time() - cpu_s) / (time.perf_counter() - started)
    found = {
        "capacity": capacity,
        "offered": len(overload) / load.seconds,
        "goodput": goodput(overload, load.seconds) / capacity,
        "polite": polite_share(overload),
        "recovery_s": recovery_s(after, median(sample.latency_s for sample in calm)),
        "p99_ms": float(np.percentile([s.latency_s * 1e3 for s in overload if s.status == 200], 99)),
        "client_cpus": client_cpus,
    }
    return {f"{load.size}_{name}": value for name, value in found.items()}


def goodput(samples: Sequence[Sample], seconds: float) -> float:
    """Vectors' answers a second between the ramp and the end of a load. Raises LoadFailed for none."""
    good = sum(sample.status == 200 and RAMP_S <= sample.ended_s < seconds for sample in samples)
    if good == 0:
        raise LoadFailed("No request was answered under overload.")
    return good / (seconds - RAMP_S)


def polite_share(samples: Sequence[Sample]) -> float:
    """The part of the refusals that are 429 with Retry-After in whole seconds. Raises LoadFailed for no refusal."""
    refused = [sample for sample in samples if sample.status != 200]
    if not refused:
        raise LoadFailed("Nothing was refused: the limits were not reached, so this says nothing about overload.")
    return sum(sample.status == 429 and sample.retry_after.isdigit() for sample in refused) / len(refused)


def recovery_s(after: Sequence[Sample], calm_s: float) -> float:
    """When, after the load dropped, refusals and slow answers ended for good, to BIN_S.

    A bin is disturbed by a refusal or by a median latency of more than three times that of the calm load before.
    """
    bins: dict[int, list[Sample]] = {}
    for sample in after:
        bins.setdefault(int(sample.due_s / BIN_S), []).append(sample)
    disturbed = [
        number
        for number, mine in bins.items()
        if any(s.status != 200 for s in mine) or median(s.latency_s for s in mine) > 3 * calm_s
    ]
    return (max(disturbed) + 1) * BIN_S if disturbed else 0.0


if __name__ == "__main__":
    typer.run(main)
