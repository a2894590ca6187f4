"""The autoscaling simulator: it loses no work, repeats itself, and its waits are those of the queue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import autoscaling_report
from benchmarks.autoscaling_default import ServeDefault, ServeSettings
from benchmarks.autoscaling_sim import Run, Seen, simulate
from benchmarks.autoscaling_traces import STEP_S, TRACES, Trace, TraceName, make
from benchmarks.autoscaling_trials import SERVE, Contender, Outcome, Row, best_within, ours, outcome, read
from benchmarks.rows import Facts, append

FLEET = 8
OUTCOME = Outcome(p50_s=0.0, p99_s=1.0, late=0.0, gpu_hours=1.0, work_hours=1.0, events=0)


FACTS = Facts("2026-01-05T10:00:00+00:00", "0123456789abcdef", False, "Example CPU", 2, {"ray": "2.60.0"}, {})


def row(seed: int = 1, facts: Facts = FACTS, ours_p99_s: float = 1.0) -> Row:
    """One in which the outcomes differ in this product's wait only."""
    same_budget = replace(OUTCOME, p99_s=ours_p99_s)
    return Row(facts, "burst", 32, seed, OUTCOME, OUTCOME, OUTCOME, same_budget, {"serve_tuned": "target 4"})


class Fixed:
    """Always the same number."""

    push_s = 1.0

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def __call__(self, seen: Seen, /) -> int:
        del seen
        return self._replicas


def short(name: TraceName, seed: int = 5) -> Trace:
    """The first twenty minutes."""
    trace = make(name, FLEET, seed)
    return replace(trace, tokens=trace.tokens[:2400], requests=trace.requests[:2400])


def run_ours(trace: Trace, seed: int = 5) -> Run:
    return simulate(trace, ours().policy(FLEET), seed)


@pytest.mark.parametrize("name", TRACES)
def test_what_arrived_is_done_or_waits(name: TraceName) -> None:
    run = run_ours(short(name))
    assert np.all(run.done >= 0)
    assert np.all(run.waiting >= -1e-3)
    assert run.trace.tokens.sum() == pytest.approx(run.done.sum() + run.waiting[-1])


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = run_ours(short("replica-loss")), run_ours(short("replica-loss"))
    assert np.array_equal(first.done, second.done)
    assert np.array_equal(first.wanted, second.wanted)


def test_another_seed_gives_another_trace() -> None:
    assert not np.array_equal(make("burst", FLEET, 1).tokens, make("burst", FLEET, 2).tokens)


@pytest.mark.parametrize("name", TRACES)
def test_nobody_waits_for_a_fleet_without_end(name: TraceName) -> None:
    """Replicas that are there from the start, fifty times as many as the trace can need."""
    trace = replace(short(name), fleet=50 * FLEET, cold_start_s=0.0)
    run = simulate(trace, Fixed(50 * FLEET), 5)
    assert np.all(run.waits()[1:] == 0.0)


def test_a_wait_is_the_time_the_queue_takes() -> None:
    """A hundred seconds of one replica's work arrive at once; the replica's speed differs by some percent."""
    tokens, requests = np.zeros(600), np.zeros(600)
    tokens[20], requests[20] = 100 * 50_000.0, 1.0
    run = simulate(Trace("burst", 1, tokens, requests), Fixed(1), 5)
    assert run.waits()[20] == pytest.approx(100, rel=0.2)
    assert outcome(run).p99_s == run.waits()[20]


def test_what_is_never_done_waits_until_the_end() -> None:
    tokens = np.full(200, 1e6)
    run = simulate(Trace("burst", 1, tokens, np.ones(200)), Fixed(1), 5)
    assert run.waits()[100] == pytest.approx(99 * STEP_S)


def test_starting_replicas_cost_and_do_not_work() -> None:
    trace = replace(short("burst"), cold_start_s=300.0)
    run = simulate(trace, Fixed(FLEET), 5)
    assert run.held[0] == FLEET
    assert run.running[0] < FLEET
    assert run.running[-1] == FLEET


def test_lost_replicas_are_replaced_after_a_cold_start() -> None:
    trace = replace(short("burst"), losses=((100.0, 0.5),))
    run = simulate(trace, Fixed(FLEET), 5)
    lost_at = int(100 / STEP_S)
    before = run.running[lost_at - 1]
    assert run.running[lost_at] < before
    assert run.running[lost_at + int(200 / STEP_S)] == FLEET


def test_a_policy_sees_the_past_only() -> None:
    """Figures are pushed every ten seconds and arrive half a second later."""
    views: list[Seen] = []

    class Watching(Fixed):
        push_s = 10.0

        def __call__(self, seen: Seen, /) -> int:
            views.append(seen)
            return super().__call__(seen)

    simulate(short("burst"), Watching(4), 5)
    delays = [view.now - view.ongoing_until for view in views if view.now >= 10.5]
    assert min(delays) >= 0.5
    assert max(delays) <= 10.5


def seen_by_serve(replicas: int, requests: float) -> Seen:
    """So many that run and are wanted, and requests that have been there all the time."""
    return Seen(20.0, replicas, replicas, 0.0, 0.0, 50_000.0, np.full(40, requests), 20.0)


def contender(name: str, gpu_hours: float, p99_s: float) -> tuple[Contender, Outcome]:
    return Contender(name, ours().policy), replace(OUTCOME, gpu_hours=gpu_hours, p99_s=p99_s)


def test_the_shortest_wait_within_the_budget_is_chosen() -> None:
    tried = [contender("cheap", 1.0, 9.0), contender("good", 2.0, 3.0), contender("dear", 3.0, 1.0)]
    assert best_within(2.0, tried).words == "good"


def test_where_nothing_fits_the_budget_the_best_of_the_cheapest_is_chosen() -> None:
    tried = [contender("cheapest", 2.0, 9.0), contender("nearly", 2.05, 3.0), contender("dear", 3.0, 1.0)]
    assert best_within(1.0, tried).words == "nearly"


def test_of_settings_that_make_nobody_wait_the_cheapest_is_chosen() -> None:
    tried = [contender("dear", 2.0, 0.0), contender("good", 1.0, 0.3), contender("cheap", 0.5, 9.0)]
    assert best_within(2.0, tried).words == "good"


@pytest.mark.parametrize(("factors", "first"), [((1.0, 1.0), 6), ((0.1, 1.0), 5), ((0.5, 1.0), 5)])
def test_serves_policy_goes_up_by_its_factor_of_the_difference(factors: tuple[float, float], first: int) -> None:
    up, down = factors
    settings = ServeSettings(4.0, 10.0, 0.0, upscaling_factor=up, downscaling_factor=down)
    assert ServeDefault(settings, 1, 100)(seen_by_serve(4, requests=24.0)) == first


@pytest.mark.parametrize(("down", "first"), [(1.0, 2), (0.5, 6)])
def test_serves_policy_goes_down_by_its_factor_of_the_difference(down: float, first: int) -> None:
    settings = ServeSettings(4.0, 10.0, 0.0, downscale_delay_s=0.0, downscaling_factor=down)
    assert ServeDefault(settings, 1, 100)(seen_by_serve(10, requests=8.0)) == first


def test_every_setting_has_words_of_its_own() -> None:
    """A setting is found again by them."""
    assert len({contender.words for contender in SERVE}) == len(SERVE)


def test_the_rows_of_the_newest_run_come_back_from_the_file(tmp_path: Path) -> None:
    path, newer = tmp_path / "rows.jsonl", replace(FACTS, run="2026-01-06T10:00:00+00:00")
    for written in (row(1), row(1, newer), row(2, newer)):
        append(path, written)
    assert read(path) == [row(1, newer), row(2, newer)]


@pytest.mark.parametrize(("ours_p99_s", "verdict"), [(0.2, "better"), (1.2, "neither"), (3.0, "worse")])
def test_the_verdict_weighs_medians_and_only_differences_that_count(ours_p99_s: float, verdict: str) -> None:
    group = [row(1, ours_p99_s=ours_p99_s), row(2, ours_p99_s=ours_p99_s), row(3, ours_p99_s=90.0)]
    assert autoscaling_report.verdict(group) == verdict


def test_the_summary_tells_the_least_and_the_most_that_ours_costs() -> None:
    cheaper = [replace(row(), ours=replace(OUTCOME, gpu_hours=0.8))]
    said = autoscaling_report.summary([cheaper, [row()], [row(ours_p99_s=3.0)]])
    assert "0.80 to 1.00 times" in said
    assert "median is 1.00" in said
    assert "better in 0, worse in 1, neither in 2" in said


def test_the_ratios_name_the_settings_they_were_measured_with() -> None:
    assert autoscaling_report.ratio_cells([row()])[-1] == "target 4"


def test_a_wait_too_short_to_count_makes_no_ratio() -> None:
    assert autoscaling_report.wait_ratio([(0.1, 0.2)]) == "no wait"
    assert autoscaling_report.wait_ratio([(4.0, 0.2)]) == "4.00 s : 0.20 s"
    assert autoscaling_report.wait_ratio([(4.0, 2.0)]) == "2.00"
