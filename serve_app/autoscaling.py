"""Between Serve's custom autoscaling policy and `serve_app.core.autoscale.decide`. Runs in Serve's controller."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ray.serve.config import AutoscalingContext

from serve_app.core.autoscale import Bounds, decide
from serve_app.core.autoscale_signals import Load, Memory
from serve_app.core.replica_load import BACKLOG_TOKENS, DONE_TOKENS_PER_S, QUEUED_TOKENS, SPEED_TOKENS_PER_S

STALE_S = 5.0  # a replica reports every second
SILENT_PART = 0.05  # of the replicas: less than the margin by which fewer must be enough before one goes
MEMORY = "memory"

log = logging.getLogger("ray.serve")


class TokenBacklogPolicy:
    """What Serve calls at every turn of its control loop, for one deployment.

    It keeps the number of replicas while nobody reports, and takes none away while more than SILENT_PART of them are
    silent: what waits there is not known. So the time for which fewer would have been enough begins when the others are
    heard of. In a large fleet some replica always starts, and is silent; in a small one every replica counts.

    It is not asked while no replica runs and requests wait: Serve itself then starts one.
    """

    def __init__(
        self,
        target_wait_s: float,
        cold_start_s: float,
        downscale_after_s: float,
        target_utilisation: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target_wait_s = target_wait_s
        self._cold_start_s = cold_start_s
        self._downscale_after_s = downscale_after_s
        self._target_utilisation = target_utilisation
        self._clock = clock
        self._seen: dict[Any, tuple[float, float]] = {}  # replica -> (its last report by its clock, when it was new)

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """(replicas wanted, state that comes back in the next context)."""
        now, target = self._clock(), context.target_num_replicas
        before = Memory(**context.policy_state.get(MEMORY, {}))
        reports = self._fresh_reports(context, now)
        load = _load(context, reports, now)
        wanted, memory = target, before
        if reports:
            wanted, memory = decide(load, self._bounds(context), before)
        if not reports or load.running - len(reports) > SILENT_PART * load.running:
            wanted, memory = max(wanted, target), replace(memory, low_since=None)
        if not wanted:
            wanted = _least_now(context)
        if wanted != target:
            log.info(_in_words(context.deployment_name, wanted, load, memory, self._target_wait_s))
        return wanted, {MEMORY: asdict(memory)}

    def _bounds(self, context: AutoscalingContext) -> Bounds:
        return Bounds(
            min_replicas=context.capacity_adjusted_min_replicas,
            max_replicas=context.capacity_adjusted_max_replicas,
            target_wait_s=self._target_wait_s,
            cold_start_s=self._cold_start_s,
            downscale_after_s=self._downscale_after_s,
            target_utilisation=self._target_utilisation,
        )

    def _fresh_reports(self, context: AutoscalingContext, now: float) -> list[dict[str, float]]:
        """The last report of each running replica, without those that are old.

        Told by when a report arrived, not by its time stamp: the clocks of two hosts need not agree.
        """
        series = context.raw_metrics or {}
        seen, reports = {}, []
        for replica in context.running_replicas:
            points = series.get(QUEUED_TOKENS, {}).get(replica)
            if not points:
                continue
            stamp, since = self._seen.get(replica, (None, now))
            since = since if points[-1].timestamp == stamp else now
            seen[replica] = (points[-1].timestamp, since)
            if now - since <= STALE_S:
                reports.append({name: by_replica[replica][-1].value for name, by_replica in series.items()})
        self._seen = seen
        return reports


def _load(context: AutoscalingContext, reports: list[dict[str, float]], now: float) -> Load:
    speeds = [report[SPEED_TOKENS_PER_S] for report in reports if report[SPEED_TOKENS_PER_S] > 0.0]
    return Load(
        now=now,
        running=context.current_num_replicas,
        wanted=context.target_num_replicas,
        queued_tokens=sum(report[QUEUED_TOKENS] + report[BACKLOG_TOKENS] for report in reports),
        done_tokens_per_s=sum(report[DONE_TOKENS_PER_S] for report in reports),
        speed_tokens_per_s=sum(speeds) / len(speeds) if speeds else 0.0,
    )


def _least_now(context: AutoscalingContext) -> int:
    """The fewest replicas of a model that wants to sleep.

    Serve goes to none from one only. And while it still averages over requests, be they a scrape of the metrics, it
    would wake the model at once.
    """
    target = context.target_num_replicas
    return min(1, target) if target > 1 or context.total_num_requests else 0


def _in_words(name: str, wanted: int, load: Load, memory: Memory, target_wait_s: float) -> str:
    return (
        f"{name}: {wanted} replicas instead of {load.wanted} ({load.running} run). {load.queued_tokens:.0f} tokens "
        f"wait, {load.done_tokens_per_s:.0f} a second are computed, one busy replica computes "
        f"{memory.speed_tokens_per_s:.0f} a second, and the target is a wait of {target_wait_s:g} s."
    )
