"""The arithmetic of the scenarios, what they refuse to report, and how their trials become tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import isolation, overload, rows, scenario_report, soak, trials
from benchmarks.http_client import NO_ANSWER, Sample, arrivals, parse_head
from benchmarks.load import LoadFailed
from benchmarks.rows import Facts
from benchmarks.scenarios import CHECKS, MIN_TRIALS, TITLES, Scenario
from benchmarks.trials import Outcome, Plan, Trial

FACTS = Facts("2026-01-05T10:00:00+00:00", "0123456789abcdef", False, "Example CPU", 2, {"ray": "2.60.0"}, {})


def sample(due_s: float, latency_s: float = 0.01, status: int = 200, retry_after: str = "") -> Sample:
    return Sample(due_s, latency_s, status, retry_after, 100)


def trial(number: int, figures: dict[str, float], scenario: Scenario = "isolation", facts: Facts = FACTS) -> Trial:
    return Trial(facts, facts.run, scenario, number, {"seconds": 4.0}, Outcome(figures))


@settings(deadline=None)
@given(slope=st.floats(-50, 50), start=st.floats(0, 5000))
def test_the_slope_of_a_line_is_found_whatever_it_did_while_warming_up(slope: float, start: float) -> None:
    seconds = [5.0 * index for index in range(60)]
    values = [start + slope * second / 60 if second >= 120 else 9999.0 for second in seconds]
    assert soak.slope_per_minute(seconds, values, after_s=120) == pytest.approx(slope, abs=1e-6)


def test_a_soak_too_short_for_a_slope_has_none() -> None:
    assert soak.slope_per_minute([0.0, 5.0, 10.0], [1.0, 2.0, 9.0], after_s=8) == 0.0


def test_a_soak_reports_where_memory_ended_and_how_it_grew() -> None:
    series = {"seconds": [0.0, 60.0, 120.0], "router": [100.0, 110.0, 112.0], "embedder": [900.0, 900.0, 900.0]}
    figures = soak.outcome(series, 500.0, warm_up_s=60).figures
    assert figures["router_mib"] == 112.0
    assert figures["router_slope"] == pytest.approx(2.0)
    assert figures["embedder_slope"] == pytest.approx(0.0)


def test_percentiles_ratios_and_kept_rates_of_isolation_come_from_their_own_loads() -> None:
    alone = {1: [n / 1000 for n in range(101)], 4: [0.001] * 10}
    beside = {1: ([n / 500 for n in range(101)], 90.0), 4: ([0.004] * 10, 50.0)}
    found = isolation.outcome(alone, beside, bulk_alone=100.0)
    assert found.figures["p50_alone_1"] == pytest.approx(50)
    assert found.figures["p99_flood_1"] == pytest.approx(198)
    assert found.figures["p99_ratio_1"] == pytest.approx(2.0)
    assert found.figures["p99_ratio_4"] == pytest.approx(4.0)
    assert (found.figures["kept_1"], found.figures["kept_4"]) == (0.9, 0.5)
    assert {len(values) for values in found.series.values()} == {len(isolation.PERCENTILES)}


def test_only_requests_sent_while_the_whole_flood_was_running_count_as_beside_it() -> None:
    bulk = [sample(0.0, 4.0), sample(0.0, 5.0), sample(4.0, 4.0), sample(5.0, 4.0)]
    mine = [sample(0.1, 9.0), sample(1.0, 0.5), sample(7.9, 0.25), sample(8.1, 9.0)]
    assert isolation.while_flooded(mine, bulk) == [0.5, 0.25]
    assert isolation.rate(bulk) == pytest.approx(4 * 256 / 9)


def test_isolation_without_an_answer_beside_the_flood_has_no_figures() -> None:
    with pytest.raises(LoadFailed, match="--flood"):
        isolation.while_flooded([sample(0.1)], [sample(0.0, 4.0)])


def test_goodput_counts_only_good_answers_between_the_ramp_and_the_end() -> None:
    answers = [sample(0.5), sample(1.5), sample(2.0, status=429), sample(2.5), sample(2.9, 0.5)]
    assert overload.goodput(answers, seconds=3.0) == pytest.approx(2 / 2)


def test_an_overload_that_nothing_survives_has_no_figures() -> None:
    with pytest.raises(LoadFailed, match="answered"):
        overload.goodput([sample(2.0, status=503)], seconds=3.0)


def test_a_refusal_is_polite_only_as_429_with_a_time_to_wait() -> None:
    refusals = [
        sample(1.0, status=429, retry_after="1"),
        sample(1.0, status=429),
        sample(1.0, status=503, retry_after="1"),
        sample(1.0, status=NO_ANSWER),
    ]
    assert overload.polite_share([*refusals, sample(1.0)]) == 0.25


def test_an_overload_that_refuses_nothing_says_nothing() -> None:
    with pytest.raises(LoadFailed, match="limits were not reached"):
        overload.polite_share([sample(1.0)])


def test_recovery_lasts_until_the_last_refusal_or_slow_spell() -> None:
    calm = [sample(n * 0.05) for n in range(80)]
    assert overload.recovery_s(calm, calm_s=0.01) == 0.0
    refused = [*calm, sample(0.7, status=429)]
    assert overload.recovery_s(refused, calm_s=0.01) == pytest.approx(1.0)
    slow = [replace(s, latency_s=0.04) if s.due_s < 1.5 else s for s in calm]
    assert overload.recovery_s(slow, calm_s=0.01) == pytest.approx(1.5)


def test_one_slow_answer_among_fast_ones_is_no_disturbance() -> None:
    answers = [sample(0.01), sample(0.05, 1.0), sample(0.1)]
    assert overload.recovery_s(answers, calm_s=0.01) == 0.0


@settings(deadline=None)  # the machine may be busy
@given(rate=st.floats(50, 500), seed=st.integers(0, 1000))
def test_arrivals_come_in_order_within_the_time_at_about_the_rate(rate: float, seed: int) -> None:
    due = list(arrivals(rate, 10.0, seed))
    assert due == sorted(due)
    assert due[0] > 0
    assert due[-1] < 10.0
    assert abs(len(due) - 10 * rate) < 7 * (10 * rate) ** 0.5
    assert due == list(arrivals(rate, 10.0, seed))


def test_the_head_of_an_answer_is_read_whatever_the_case_of_its_names() -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nRETRY-AFTER: 2\r\ncontent-length:17\r\n\r\n"
    assert parse_head(head) == (429, {"retry-after": "2", "content-length": "17"})


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"])
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(LoadFailed, match="not HTTP"):
        parse_head(head)


def test_a_trial_survives_the_file(tmp_path: Path) -> None:
    written = replace(trial(1, {"bulk_alone": 12.5}), outcome=Outcome({"bulk_alone": 12.5}, {"router": [1.0, 2.0]}))
    rows.append(tmp_path / "trials.jsonl", written)
    assert trials.read(tmp_path / "trials.jsonl") == [written]


@pytest.mark.parametrize(
    ("change", "measured"),
    [({}, True), ({"trials": 3}, False), ({"settings": {}}, False), ({"scenario": "wide"}, False)],
)
def test_a_scenario_is_measured_once_all_its_trials_of_the_same_settings_are_there(
    change: dict[str, object], measured: bool
) -> None:
    found = [trial(number, {}) for number in (1, 2)]
    plan = replace(Plan("isolation", 2, {"seconds": 4.0}, True), **change)  # type: ignore[arg-type]
    assert trials.is_measured(found, plan, FACTS.commit) is measured
    assert trials.is_measured(found, plan, "another commit") is False


def test_a_finding_is_the_median_with_the_extremes() -> None:
    (finding,) = scenario_report.findings([trial(n, {"kept_1": kept}) for n, kept in enumerate((0.9, 0.8, 1.0))])
    assert (finding.median, finding.low, finding.high) == (0.9, 0.8, 1.0)
    assert finding.cells()[4:] == ("≥ 0.85", "", "met")


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [("p99_ratio_1", 1.9, "beyond"), ("p99_ratio_1", 3.0, "met"), ("p99_ratio_1", 3.1, "missed"),
     ("kept_4", 0.84, "missed"), ("bulk_alone", 1.0, ""), ("long_polite", 0.999, "missed")],
)  # fmt: skip
def test_a_check_knows_which_way_is_better(figure: str, value: float, verdict: str) -> None:
    check = next(check for check in CHECKS if check.figure == figure)
    assert check.verdict(value) == verdict


def test_a_newer_run_of_too_few_trials_does_not_replace_a_complete_one() -> None:
    newer = replace(FACTS, run="2026-02-01T00:00:00+00:00")
    complete = [trial(number, {}) for number in range(MIN_TRIALS["isolation"])]
    assert scenario_report.latest_trials([*complete, trial(1, {}, facts=newer)], "isolation") == complete


def test_the_page_has_a_section_for_every_scenario_measured_or_not() -> None:
    found = [trial(1, {"router_slope": 0.1}, "soak")]
    page = scenario_report.render(found, {"soak": "img/soak.svg"})
    assert [f"### {title}\n" in page for title in TITLES.values()] == [True] * len(TITLES)
    assert page.count(scenario_report.NOT_MEASURED) == len(TITLES) - 1
    assert "| Router, growth after warm-up | MiB/min | 0.10 | 0.10 – 0.10 | ≤ 1 | ≤ 0.2 | beyond |" in page
    assert "![Memory under a steady load](img/soak.svg)" in page


def test_no_figure_has_two_checks() -> None:
    keys = [(check.scenario, check.figure) for check in CHECKS]
    assert len(set(keys)) == len(keys)
