"""How many replicas are wanted: bounds, direction, calm, and what happens while replicas start or nothing is known."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.autoscale import DOWNSCALE_MARGIN, Bounds, decide
from serve_app.core.autoscale_signals import Load, Memory

BOUNDS = Bounds(min_replicas=1, max_replicas=100, target_wait_s=2.0, cold_start_s=60.0, downscale_after_s=300.0)
SPEED = 1000.0
BUSY_BEFORE = Memory(speed_tokens_per_s=SPEED, is_speed_proven=True)

amounts = st.floats(0, 1e9, allow_nan=False)
counts = st.integers(0, 200)


@st.composite
def bounds_of(draw: st.DrawFn) -> Bounds:
    least = draw(st.integers(0, 50))
    return Bounds(
        min_replicas=least,
        max_replicas=least + draw(st.integers(1, 1000)),
        target_wait_s=draw(st.floats(0.1, 60)),
        cold_start_s=draw(st.floats(0.1, 600)),
        downscale_after_s=draw(st.floats(0, 900)),
        target_utilisation=draw(st.floats(0.1, 1)),
    )


def loads_at(now: float) -> st.SearchStrategy[Load]:
    speeds = st.floats(0, 1e6) | st.sampled_from([float("nan"), float("inf"), -1.0])
    return st.builds(Load, st.just(now), counts, counts, amounts, amounts, speeds)


@st.composite
def histories(draw: st.DrawFn) -> list[Load]:
    """Moments one to ten seconds apart; numbers of replicas as they may come."""
    now, loads = 0.0, []
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.floats(1, 10))
        loads.append(draw(loads_at(now)))
    return loads


def after(loads: list[Load], bounds: Bounds, memory: Memory) -> Memory:
    for load in loads:
        _, memory = decide(load, bounds, memory)
    return memory


def steady(now: float, running: int, busy: float, wanted: int | None = None) -> Load:
    """As many replicas' worth of work as `busy` says, with next to nothing waiting."""
    return Load(now, running, running if wanted is None else wanted, busy * 10.0, busy * SPEED, SPEED)


def with_more(load: Load, field: str, amount: float) -> Load:
    changed: dict[str, Any] = {field: getattr(load, field) + amount}
    return replace(load, **changed)


def settle(running: int, busy: float, seconds: int, bounds: Bounds = BOUNDS, memory: Memory = BUSY_BEFORE) -> int:
    """The number of replicas after so long under a steady load, if a replica starts within a second."""
    for second in range(seconds):
        running, memory = decide(steady(second, running, busy), bounds, memory)
    return running


@settings(max_examples=50, deadline=None)
@given(histories(), bounds_of())
def test_the_number_is_always_within_the_bounds(loads: list[Load], bounds: Bounds) -> None:
    memory = Memory()
    for load in loads:
        wanted, memory = decide(load, bounds, memory)
        assert bounds.min_replicas <= wanted <= bounds.max_replicas


@pytest.mark.parametrize("field", ["queued_tokens", "done_tokens_per_s"])
@settings(max_examples=50, deadline=None)
@given(loads=histories(), bounds=bounds_of(), more=st.floats(0, 1e9))
def test_more_work_never_wants_fewer_replicas(field: str, loads: list[Load], bounds: Bounds, more: float) -> None:
    memory = after(loads[:-1], bounds, Memory())
    fewer, _ = decide(loads[-1], bounds, memory)
    assert decide(with_more(loads[-1], field, more), bounds, memory)[0] >= fewer


@settings(max_examples=50, deadline=None)
@given(histories(), bounds_of())
def test_the_memory_survives_json(loads: list[Load], bounds: Bounds) -> None:
    memory = after(loads, bounds, Memory())
    assert Memory(**json.loads(json.dumps(asdict(memory), allow_nan=False))) == memory


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 60), st.sampled_from([1, 20]))
def test_noise_around_a_steady_load_never_makes_the_number_swing(seed: int, busy: float, lasts_s: int) -> None:
    noise = np.random.default_rng(seed)
    running, memory, history = 1 + ceil(busy / 0.75), BUSY_BEFORE, []
    factors = np.repeat(noise.uniform(0.9, 1.1, (2, 1500 // lasts_s)), lasts_s, axis=1).tolist()
    for second, (of_work, of_backlog) in enumerate(zip(*factors, strict=True)):
        load = steady(second, running, busy * of_work)
        wobbling = replace(load, queued_tokens=load.queued_tokens * of_backlog)
        running, memory = decide(wobbling, BOUNDS, memory)
        history.append(running)
    changes = [later - earlier for earlier, later in pairwise(history) if later != earlier]
    assert all(change > 0 for change in changes) or all(change < 0 for change in changes)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 60), st.integers(1, 100))
def test_a_steady_load_settles_at_what_it_needs_and_at_most_one_more(busy: float, begin: int) -> None:
    settled = settle(begin, busy, 1000)
    assert busy / BOUNDS.target_utilisation - 1e-6 <= settled
    assert settled <= max(ceil(busy / BOUNDS.target_utilisation * DOWNSCALE_MARGIN + 1e-6), 1) + 1


@given(st.floats(0, 50), st.floats(0, 1e6), st.integers(1, 50))
def test_no_more_is_ever_asked_for_than_the_work_needs_plus_one(busy: float, queued: float, running: int) -> None:
    """The most: all that arrives, and all that waits or finds nobody free before a replica has started."""
    load = Load(0.0, running, running, queued, busy * SPEED, SPEED)
    unserved = max(0.0, busy - running)
    needed = busy / BOUNDS.target_utilisation + queued / SPEED / BOUNDS.cold_start_s + unserved
    wanted, _ = decide(load, BOUNDS, BUSY_BEFORE)
    assert wanted <= max(running, needed + 1)


@pytest.mark.parametrize("memory", [Memory(), BUSY_BEFORE])
def test_the_first_token_wakes_a_model_that_sleeps(memory: Memory) -> None:
    bounds = replace(BOUNDS, min_replicas=0)
    asleep = Load(1000.0, 0, 0, 0.0, 0.0, 0.0)
    assert decide(asleep, bounds, memory)[0] == 0
    assert decide(replace(asleep, queued_tokens=1.0), bounds, memory)[0] == 1


def test_a_model_goes_to_sleep_only_after_it_did_nothing_for_long_enough() -> None:
    bounds, memory = replace(BOUNDS, min_replicas=0), BUSY_BEFORE
    _, memory = decide(steady(0, 1, 0.5), bounds, memory)
    idle = [Load(float(second), 1, 1, 0.0, 0.0, SPEED) for second in range(1, 302)]
    numbers = []
    for load in idle:
        wanted, memory = decide(load, bounds, memory)
        numbers.append(wanted)
    assert numbers == [1] * 300 + [0]


def test_one_token_now_and_then_keeps_the_last_replica() -> None:
    bounds, memory = replace(BOUNDS, min_replicas=0), BUSY_BEFORE
    for second in range(2000):
        load = Load(float(second), 1, 1, float(second % 200 == 0), 0.0, SPEED)
        wanted, memory = decide(load, bounds, memory)
        assert wanted == 1


def test_a_model_that_must_not_sleep_keeps_its_least_number() -> None:
    assert settle(8, 0.0, 1000, replace(BOUNDS, min_replicas=2)) == 2


def test_with_an_unknown_speed_replicas_come_one_at_a_time() -> None:
    numbers: list[int] = []
    memory, running = Memory(), 1
    for second in range(60):
        running += second % 10 == 9 and running < max(numbers)
        wanted, memory = decide(Load(float(second), running, max([1, *numbers]), 1e9, 0.0, 0.0), BOUNDS, memory)
        assert wanted <= running + 1
        numbers.append(wanted)
    assert running > 4


@pytest.mark.parametrize("speed", [0.0, -5.0, float("nan"), float("inf")])
def test_a_speed_that_makes_no_sense_leaves_the_known_one(speed: float) -> None:
    wanted, memory = decide(replace(steady(0, 4, 2.0), speed_tokens_per_s=speed), BOUNDS, BUSY_BEFORE)
    assert (wanted, memory.speed_tokens_per_s) == (4, SPEED)


def test_one_absurdly_low_speed_hardly_matters() -> None:
    _, memory = decide(replace(steady(0, 4, 2.0), queued_tokens=1e5), BOUNDS, BUSY_BEFORE)
    for second in range(1, 5):
        _, memory = decide(replace(steady(second, 4, 2.0), queued_tokens=1e5), BOUNDS, memory)
    _, memory = decide(Load(5.0, 4, 4, 1e5, 2 * SPEED, 1e-6), BOUNDS, memory)
    assert memory.speed_tokens_per_s > 0.9 * SPEED


def test_small_steps_that_look_slow_ask_for_no_replica() -> None:
    """A light load keeps an engine stepping all the time, so its speed looks as small as the load."""
    memory, running = Memory(), 1
    for second in range(600):
        load = Load(float(second), running, running, 20.0, 0.2 * SPEED, 0.2 * SPEED / running)
        running, memory = decide(load, BOUNDS, memory)
    assert running == 1


def test_a_speed_of_next_to_nothing_asks_for_the_most_replicas() -> None:
    stuck = Memory(speed_tokens_per_s=5e-324, is_speed_proven=True)
    assert decide(Load(0.0, 1, 1, 1e6, 0.0, 5e-324), BOUNDS, stuck)[0] == BOUNDS.max_replicas


def test_a_proven_speed_does_not_fall_for_want_of_work() -> None:
    idling = [Load(float(second), 2, 2, 20.0, 0.1 * SPEED, 0.05 * SPEED) for second in range(300)]
    assert after(idling, BOUNDS, BUSY_BEFORE).speed_tokens_per_s == SPEED


def test_a_lower_speed_is_believed_once_a_backlog_proves_it() -> None:
    memory = BUSY_BEFORE
    for second in range(120):
        _, memory = decide(Load(float(second), 2, 2, 50_000.0, SPEED, SPEED / 2), BOUNDS, memory)
    assert memory.speed_tokens_per_s == pytest.approx(SPEED / 2, rel=0.05)


def test_a_backlog_that_grows_while_replicas_start_is_counted_once() -> None:
    """Five replicas' worth of work meets two replicas: others start, and what they find has been reckoned with."""
    arriving, queued, numbers, memory, wanted = 5.0 * SPEED, 0.0, [], BUSY_BEFORE, 2
    _, memory = decide(steady(-1, 2, 1.0), BOUNDS, memory)
    for second in range(60):
        queued += arriving - 2 * SPEED
        load = Load(float(second), 2, wanted, queued, 2 * SPEED, SPEED)
        wanted, memory = decide(load, BOUNDS, memory)
        numbers.append(wanted)
    assert numbers[20] >= 7
    assert numbers[-1] <= 5 / BOUNDS.target_utilisation + 3 + 1


def test_replicas_that_only_drained_a_backlog_go_soon_after_it() -> None:
    memory, running = BUSY_BEFORE, 2
    for second in range(40):
        running, memory = decide(Load(float(second), running, running, 6e5, 2 * SPEED, SPEED), BOUNDS, memory)
    assert running > 8
    for second in range(40, 400):
        running, memory = decide(steady(second, running, 2.0), BOUNDS, memory)
    assert running == 3


def test_a_jump_of_the_backlog_is_not_taken_for_a_rate() -> None:
    memory = after([steady(second, 4, 2.0) for second in range(30)], BOUNDS, BUSY_BEFORE)
    numbers = []
    for second in range(30, 60):
        wanted, memory = decide(replace(steady(second, 4, 2.0), queued_tokens=1.2e5), BOUNDS, memory)
        numbers.append(wanted)
    assert max(numbers) <= ceil(2 + 1.2e5 / SPEED / BOUNDS.cold_start_s)


def test_the_number_goes_down_to_the_most_that_was_needed_meanwhile() -> None:
    memory, running = BUSY_BEFORE, 20
    for second in range(301):
        busy = 6.0 if 100 <= second < 160 else 1.0
        running, memory = decide(steady(second, running, busy), BOUNDS, memory)
    assert 8 <= running <= 10


def test_none_goes_while_what_waits_takes_longer_than_the_target() -> None:
    memory, running = BUSY_BEFORE, 20
    for second in range(400):
        late = replace(steady(second, running, 1.0), queued_tokens=1.05 * BOUNDS.target_wait_s * 20 * SPEED)
        running, memory = decide(late, BOUNDS, memory)
    assert running == 20
    running, memory = decide(steady(400, running, 1.0), BOUNDS, memory)
    assert running < 20


def test_a_clock_that_went_back_starts_a_new_watch_and_keeps_the_speed() -> None:
    memory = after([steady(1000 + second, 8, 1.0) for second in range(250)], BOUNDS, BUSY_BEFORE)
    wanted, memory = decide(steady(5, 8, 1.0), BOUNDS, memory)
    assert (wanted, memory.low_since, memory.speed_tokens_per_s) == (8, 5, SPEED)
