"""How long a pod of the RayService has when it must go."""

from __future__ import annotations

from math import ceil

from cluster.config import ClusterConfig
from cluster.kubernetes import PROCESS_END_S
from serve_app.settings import DRAIN_MARGIN_S, AutoscalingSettings

COLD_START_S = AutoscalingSettings(max_replicas=1).cold_start_s  # where nothing says how long it takes


def termination_grace_s(config: ClusterConfig) -> int:
    """As configured; else a replica starts elsewhere, and the one that goes then finishes its longest request.

    Serve stops it that request's time before the end, whether its replacement is up or not.
    """
    given = config.kubernetes.termination_grace_s
    if given is not None:
        return given
    scalings = [model.autoscaling for model in config.models if model.autoscaling is not None]
    start = max((scaling.cold_start_s for scaling in scalings), default=COLD_START_S)
    return ceil(start + config.limits.request_timeout_s + DRAIN_MARGIN_S + PROCESS_END_S)


def drain_s(config: ClusterConfig) -> int:
    """The part of it for replicas and requests; the rest is for the processes to end."""
    return termination_grace_s(config) - PROCESS_END_S
