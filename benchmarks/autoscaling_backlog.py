"""The policies under test, as the simulator asks them: this product's."""

from __future__ import annotations

from benchmarks.autoscaling_sim import Seen
from benchmarks.autoscaling_traces import REPLICA_TOKENS_PER_S
from serve_app.core.autoscale import Bounds, decide
from serve_app.core.autoscale_signals import Load, Memory


class TokenBacklog:
    """This product's policy."""

    push_s = 1.0

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._memory = Memory(speed_tokens_per_s=REPLICA_TOKENS_PER_S, is_speed_proven=True)

    def __call__(self, seen: Seen) -> int:
        load = Load(
            now=seen.now,
            running=seen.running,
            wanted=seen.wanted,
            queued_tokens=seen.queued_tokens,
            done_tokens_per_s=seen.done_tokens_per_s,
            speed_tokens_per_s=seen.speed_tokens_per_s,
        )
        wanted, self._memory = decide(load, self._bounds, self._memory)
        return wanted
