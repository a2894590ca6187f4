"""When replicas go after a peak: so long after it, not after it and what came before it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from serve_app.core.autoscale import Bounds, decide
from serve_app.core.autoscale_signals import Load, Memory
from serve_app.core.recent_peak import PARTS

BOUNDS = Bounds(min_replicas=1, max_replicas=100, target_wait_s=2.0, cold_start_s=60.0, downscale_after_s=300.0)
SPEED = 1000.0
BACKLOG = 6e5  # tokens; ten replicas work it off in one cold start


def numbers_over(busy: list[float], queued: list[float], running: int, bounds: Bounds = BOUNDS) -> list[int]:
    """Replicas at every second of a load, if one starts within a second."""
    memory, numbers = Memory(speed_tokens_per_s=SPEED, is_speed_proven=True), []
    for second, (work, waiting) in enumerate(zip(busy, queued, strict=True)):
        load = Load(float(second), running, running, waiting, work * SPEED, SPEED)
        running, memory = decide(load, bounds, memory)
        numbers.append(running)
    return numbers


@pytest.mark.parametrize("lasts_s", [60, 200, 450, 700])
def test_replicas_of_a_burst_go_once_it_is_over_for_long_enough(lasts_s: int) -> None:
    """Also where a few had been asked for its backlog, and the rest were needed until it ended."""
    busy = [3.0] * 60 + [12.0] * lasts_s + [3.0] * 700
    queued = [0.0] * 60 + [BACKLOG] * 30 + [0.0] * (len(busy) - 90)
    numbers = numbers_over(busy, queued, 4)
    ended = 60 + lasts_s
    latest = BOUNDS.downscale_after_s * (1 + 1 / PARTS)
    assert numbers[60] > 12
    assert min(numbers[ended : ended + 300]) >= 12
    assert numbers[ended + int(latest) + 30] <= 5


def test_replicas_asked_for_after_long_calm_stay_as_long_as_others() -> None:
    """Four would do for long, and the fifth stays for the bounds only: no reason to dismiss new ones at once."""
    busy, queued = [2.7] * 1000, [0.0] * 500 + [BACKLOG] * 20 + [0.0] * 480
    numbers = numbers_over(busy, queued, 5, replace(BOUNDS, min_replicas=5))
    assert numbers[519] > 10
    assert min(numbers[520:800]) == numbers[519]
    assert numbers[-1] == 5


def test_a_slow_decline_is_followed_step_by_step() -> None:
    """Each replica goes when it has not been needed for so long, not all that are left over at the next turn."""
    busy = [30.0 - second * 0.01 for second in range(2000)]
    numbers = numbers_over(busy, [0.0] * 2000, 44)
    changes = [later - earlier for earlier, later in pairwise(numbers) if later != earlier]
    assert max(changes) < 0
    assert min(changes) >= -2
