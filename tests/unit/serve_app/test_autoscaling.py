"""The policy as Serve calls it, with contexts like Serve's."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingContext

from serve_app import autoscaling as module
from serve_app.autoscaling import STALE_S, TokenBacklogPolicy
from serve_app.core.autoscale import Bounds
from serve_app.core.autoscale_signals import Load, Memory

EMBEDDER = DeploymentID(name="Embedder-qwen3", app_name="embed")
REPLICAS = [ReplicaID(name, EMBEDDER) for name in "abc"]
IDLE = {"queued_tokens": 0.0, "backlog_tokens": 0.0, "done_tokens_per_s": 0.0, "speed_tokens_per_s": 0.0}
WORDS = (
    "Embedder-qwen3: 5 replicas instead of 2 (2 run). 300 tokens wait, 80 a second are computed, one busy replica "
    "computes 100 a second, and the target is a wait of 2 s."
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Decide:
    """Stands for the decision: notes what it is given and wants `wanted`."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.loads: list[Load] = []
        self.bounds: list[Bounds] = []
        self.memories: list[Memory] = []

    def __call__(self, load: Load, bounds: Bounds, memory: Memory) -> tuple[int, Memory]:
        self.loads.append(load)
        self.bounds.append(bounds)
        self.memories.append(memory)
        return self.wanted, Memory(low_since=7.0, speed_tokens_per_s=100.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def policy(clock: Clock) -> TokenBacklogPolicy:
    return TokenBacklogPolicy(2.0, cold_start_s=60.0, downscale_after_s=300.0, target_utilisation=0.75, clock=clock)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Decide:
    decide = Decide(wanted=5)
    monkeypatch.setattr(module, "decide", decide)
    return decide


def context(
    reports: dict[ReplicaID, dict[str, float]],
    stamp: float,
    running: list[ReplicaID],
    target: int = 2,
    requests: float = 0.0,
    least: int = 1,
    state: dict[str, Any] | None = None,
) -> AutoscalingContext:
    names = {name for report in reports.values() for name in report}
    series = {
        name: {replica: [TimeStampedValue(stamp, report[name])] for replica, report in reports.items()}
        for name in names
    }
    return AutoscalingContext(
        deployment_id=EMBEDDER,
        deployment_name=EMBEDDER.name,
        app_name=EMBEDDER.app_name,
        current_num_replicas=len(running),
        target_num_replicas=target,
        running_replicas=running,
        total_num_requests=requests,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=series,
        capacity_adjusted_min_replicas=least,
        capacity_adjusted_max_replicas=8,
        policy_state=state or {},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=stamp,
        config=None,
    )


def test_the_decision_gets_what_all_replicas_report(
    policy: TokenBacklogPolicy, decide: Decide, caplog: pytest.LogCaptureFixture
) -> None:
    reports = {
        REPLICAS[0]: {"queued_tokens": 50.0, "backlog_tokens": 200.0, "done_tokens_per_s": 80.0} | _speed(100.0),
        REPLICAS[1]: {"queued_tokens": 20.0, "backlog_tokens": 30.0, "done_tokens_per_s": 0.0} | _speed(0.0),
    }
    with caplog.at_level(logging.INFO, "ray.serve"):
        wanted, state = policy(context(reports, 5.0, REPLICAS[:2]))
    assert wanted == 5
    assert decide.loads == [Load(1000.0, 2, 2, 300.0, 80.0, 100.0)]
    assert decide.bounds == [Bounds(1, 8, 2.0, 60.0, 300.0)]
    assert [record.message for record in caplog.records] == [WORDS]
    assert json.loads(json.dumps(state)) == state


def test_what_was_decided_before_comes_back(policy: TokenBacklogPolicy, decide: Decide) -> None:
    _, state = policy(context({REPLICAS[0]: IDLE}, 5.0, REPLICAS[:1]))
    policy(context({REPLICAS[0]: IDLE}, 6.0, REPLICAS[:1], state={**state, "of_serve": 3}))
    assert decide.memories == [Memory(), Memory(low_since=7.0, speed_tokens_per_s=100.0)]


def test_nothing_changes_while_nobody_has_reported_yet(policy: TokenBacklogPolicy, decide: Decide) -> None:
    assert policy(context({}, 5.0, REPLICAS[:2]))[0] == 2
    assert policy(context({}, 5.0, [], target=1))[0] == 1
    assert decide.loads == []


def test_old_reports_change_nothing(policy: TokenBacklogPolicy, decide: Decide, clock: Clock) -> None:
    old = context({REPLICAS[0]: IDLE, REPLICAS[1]: IDLE}, 5.0, REPLICAS[:2])
    assert policy(old)[0] == 5
    clock.now += STALE_S + 0.1
    assert policy(old)[0] == 2
    assert len(decide.loads) == 1
    assert policy(context({REPLICAS[0]: IDLE, REPLICAS[1]: IDLE}, 6.0, REPLICAS[:2]))[0] == 5


@pytest.mark.parametrize(("decided", "wanted"), [(1, 2), (5, 5)])
def test_no_replica_goes_while_one_is_silent_but_others_may_come(
    policy: TokenBacklogPolicy, decide: Decide, decided: int, wanted: int
) -> None:
    decide.wanted = decided
    assert policy(context({REPLICAS[0]: IDLE}, 5.0, REPLICAS[:2]))[0] == wanted


@pytest.mark.parametrize("running", [REPLICAS[:2], []], ids=["one is silent", "none runs"])
def test_the_watch_for_fewer_replicas_begins_when_all_are_heard_of(
    policy: TokenBacklogPolicy, decide: Decide, running: list[ReplicaID]
) -> None:
    before = {"memory": {"low_since": 900.0, "speed_tokens_per_s": 80.0}}
    _, after = policy(context({REPLICAS[0]: IDLE}, 5.0, running, state=before))
    assert after["memory"]["low_since"] is None
    assert after["memory"]["speed_tokens_per_s"] > 0


@pytest.mark.parametrize(("requests", "wanted"), [(0.2, 1), (0.0, 0)])
def test_a_model_does_not_fall_asleep_while_serve_would_wake_it_at_once(
    policy: TokenBacklogPolicy, decide: Decide, requests: float, wanted: int
) -> None:
    decide.wanted = 0
    assert policy(context({REPLICAS[0]: IDLE}, 5.0, REPLICAS[:1], target=1, requests=requests))[0] == wanted


def test_replicas_whose_clocks_are_off_count_like_others(policy: TokenBacklogPolicy, decide: Decide) -> None:
    assert policy(context({REPLICAS[0]: IDLE}, -1e6, REPLICAS[:1]))[0] == 5


@pytest.mark.parametrize(("fleet", "silent", "wanted"), [(40, 2, 30), (40, 3, 40), (19, 1, 19)])
def test_a_few_silent_replicas_of_a_large_fleet_keep_none_from_going(
    policy: TokenBacklogPolicy, decide: Decide, fleet: int, silent: int, wanted: int
) -> None:
    decide.wanted = min(30, fleet - 1)
    running = [ReplicaID(str(number), EMBEDDER) for number in range(fleet)]
    reports = dict.fromkeys(running[silent:], IDLE)
    assert policy(context(reports, 5.0, running, target=fleet))[0] == wanted


def turns(policy: TokenBacklogPolicy, clock: Clock, requests: float, running: int) -> list[int]:
    """Replicas at every second of a time in which nothing is done; Serve goes to none from one only."""
    state: dict[str, Any] = {}
    numbers = [running]
    for second in range(500):
        clock.now += 1.0
        reports = dict.fromkeys(REPLICAS[: numbers[-1]], IDLE)
        asked = context(
            reports,
            float(second),
            REPLICAS[: numbers[-1]],
            target=numbers[-1],
            requests=requests if second < 330 else 0.0,
            least=0,
            state=state,
        )
        wanted, state = policy(asked)
        numbers.append(max(wanted, min(1, numbers[-1] - 1)))
    return numbers


def test_a_model_with_several_replicas_falls_asleep_in_one_go(policy: TokenBacklogPolicy, clock: Clock) -> None:
    numbers = turns(policy, clock, requests=0.0, running=3)
    assert (numbers.index(1), numbers.index(0)) == (301, 302)
    assert set(numbers[302:]) == {0}


def test_a_scrape_puts_sleep_off_by_no_more_than_it_lasts(policy: TokenBacklogPolicy, clock: Clock) -> None:
    assert turns(policy, clock, requests=0.2, running=1).index(0) == 331


def test_the_policy_remembers_no_replica_that_has_gone(policy: TokenBacklogPolicy, decide: Decide) -> None:
    policy(context(dict.fromkeys(REPLICAS, IDLE), 5.0, REPLICAS))
    policy(context(dict.fromkeys(REPLICAS, IDLE), 6.0, REPLICAS[:1]))
    assert list(policy._seen) == REPLICAS[:1]


def _speed(tokens_per_s: float) -> dict[str, float]:
    return {"speed_tokens_per_s": tokens_per_s}
