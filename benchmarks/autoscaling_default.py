"""Serve's own policy, as the simulator asks it: the real functions, with the simulated clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.autoscaling_sim import Seen
from benchmarks.autoscaling_traces import STEP_S

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Fields of Serve's `AutoscalingConfig`, with its defaults, and the interval of its environment variable."""

    target_ongoing_requests: float = 2.0
    look_back_period_s: float = 30.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0
    upscaling_factor: float = 1.0
    downscaling_factor: float = 1.0
    push_s: float = 10.0


class ServeDefault:
    """`replica_queue_length_autoscaling_policy` with the factors, delays and bounds that Serve applies to it.

    Serve reads the clock inside; here it is handed in, which its delay function allows.
    """

    def __init__(self, settings: ServeSettings, min_replicas: int, max_replicas: int) -> None:
        from ray.serve import autoscaling_policy as serve
        from ray.serve._private.common import DeploymentID
        from ray.serve.config import AutoscalingConfig, AutoscalingContext

        self.push_s = settings.push_s
        self._serve = serve
        self._new_context = AutoscalingContext
        self._deployment = DeploymentID(name="Embedder")
        self._look_back_s = settings.look_back_period_s
        self._state: dict[str, Any] = {}
        self._config = AutoscalingConfig(
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            target_ongoing_requests=settings.target_ongoing_requests,
            look_back_period_s=settings.look_back_period_s,
            upscale_delay_s=settings.upscale_delay_s,
            downscale_delay_s=settings.downscale_delay_s,
            upscaling_factor=settings.upscaling_factor,
            downscaling_factor=settings.downscaling_factor,
        )

    def __call__(self, seen: Seen) -> int:
        desired, _ = self._serve.replica_queue_length_autoscaling_policy(self._context(seen))
        scaled = self._serve._apply_scaling_factors(desired, seen.running, self._config)
        wanted, self._state = self._serve._apply_delay_logic(
            max(0, scaled), seen.wanted, self._config, self._state, _now=seen.now
        )
        return min(max(wanted, self._config.min_replicas), self._config.max_replicas)

    def _context(self, seen: Seen) -> AutoscalingContext:
        return self._new_context(
            deployment_id=self._deployment,
            deployment_name=self._deployment.name,
            app_name=None,
            current_num_replicas=seen.running,
            target_num_replicas=seen.wanted,
            running_replicas=[],
            total_num_requests=self._ongoing(seen),
            total_queued_requests=None,
            aggregated_metrics=None,
            raw_metrics=None,
            capacity_adjusted_min_replicas=self._config.min_replicas,
            capacity_adjusted_max_replicas=self._config.max_replicas,
            policy_state=self._state,
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=seen.now,
            config=self._config,
        )

    def _ongoing(self, seen: Seen) -> float:
        """The mean over the part of the look-back period that has been pushed; the last figure if none of it has."""
        pushed_s = self._look_back_s - (seen.now - seen.ongoing_until)
        recent = seen.ongoing[-max(1, round(pushed_s / STEP_S)) :]
        return float(np.mean(recent)) if len(recent) else 0.0
