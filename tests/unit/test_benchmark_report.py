"""The benchmark's report: which rows it takes, what it makes of them, and how it reads the client's own output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import report, rows, tables
from benchmarks.cases import CASES, PEERS, choose
from benchmarks.load import Expected, LoadFailed, WrkReport, check_answers, parse_wrk
from benchmarks.rows import Facts, Figures, Row
from benchmarks.texts import batch, short
from serve_app.core.errors import SetupError

FACTS = Facts(
    run="2026-01-05T10:00:00+00:00",
    commit="0123456789abcdef",
    is_dirty=False,
    cpu="Example CPU",
    cpus=2,
    versions={"python": "3.11.7", "ray": "2.60.0"},
    ready_s={"cluster": 12.4, "peer": 30.6},
)
FAST = Figures(requests_per_s=1200.0, p50_ms=8.0, p99_ms=20.0, tokens_per_s=24_000.0, client_cpus=0.1)
SLOW = Figures(requests_per_s=600.0, p50_ms=10.0, p99_ms=40.0, tokens_per_s=12_000.0, client_cpus=0.1)
WRK_LINE = (
    '{"requests":1200,"duration_us":2000000,"bytes":1800000,"p50_us":8125,"p99_us":20500,'
    '"status":0,"connect":0,"read":0,"write":0,"timeout":0}'
)


def pair(case: str, ratio: float, number: int = 1, facts: Facts = FACTS) -> Row:
    return Row(facts, facts.run, case, 16, number, 3.0, "peer", {"peer": 600.0}, FAST, SLOW, ratio)


def complete_run(facts: Facts = FACTS, ratio: float = 1.0) -> list[Row]:
    return [pair(case.name, ratio, number, facts) for case in CASES for number in range(1, report.MIN_PAIRS + 1)]


def test_a_row_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "rows.jsonl"
    written = [pair("short-16", 1.25), pair("bulk", 1.5, number=2)]
    for row in written:
        rows.append(path, row)
    assert rows.read(path) == written


def test_a_results_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert rows.read(tmp_path / "none.jsonl") == []


def test_facts_are_gathered_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    facts = rows.gather_facts({})
    assert (facts.commit, facts.is_dirty) == ("none", False)


def test_a_line_shows_the_median_and_the_extremes_of_the_ratios_of_the_pairs() -> None:
    (line,) = report.lines([pair("short-16", ratio) for ratio in (1.4, 0.9, 1.1, 9.0, 1.0)])
    assert (line.ratio, line.low, line.high) == (1.1, 0.9, 9.0)
    assert (line.pairs, line.ours, line.theirs) == (5, 1200.0, 600.0)


def test_lines_follow_the_order_of_the_cases_and_leave_out_what_was_not_measured() -> None:
    lines = report.lines([pair("bulk", 1.0), pair("short-1", 1.0)])
    assert [line.case.name for line in lines] == ["short-1", "bulk"]


@pytest.mark.parametrize(
    ("case", "ratio", "verdict"),
    [
        ("short-1", 1.05, "beyond"),  # a latency: lower is better
        ("short-1", 1.3, "met"),
        ("short-1", 1.5, "missed"),
        ("short-64", 2.6, "beyond"),  # a rate: higher is better
        ("short-64", 1.7, "met"),
        ("short-64", 1.69, "missed"),
        ("bulk", 5.0, "met"),  # nothing beyond its bar
        ("bulk-engine", 0.96, "beyond"),  # no bar before its goal
        ("bulk-engine", 0.90, "not reached"),
        ("short-engine", 0.1, ""),  # for information
    ],
)
def test_a_verdict_knows_which_way_is_better(case: str, ratio: float, verdict: str) -> None:
    (line,) = report.lines([pair(case, ratio)])
    assert line.verdict == verdict


def test_the_report_takes_the_newest_run() -> None:
    newer = replace(FACTS, run="2026-02-01T00:00:00+00:00")
    chosen = report.latest_pairs([*complete_run(newer), *complete_run()])
    assert {row.facts.run for row in chosen} == {newer.run}


def test_a_case_of_too_few_pairs_keeps_its_older_rows_while_the_others_get_new_ones() -> None:
    newer = replace(FACTS, run="2026-02-01T00:00:00+00:00")
    chosen = report.latest_pairs([*complete_run(), *complete_run(newer)[1:]])
    assert {row.case for row in chosen if row.facts.run == FACTS.run} == {CASES[0].name}
    assert {row.case for row in chosen if row.facts.run == newer.run} == {case.name for case in CASES[1:]}


def test_rows_of_two_runs_say_which_cases_are_whose() -> None:
    newer = replace(FACTS, run="2026-02-01T00:00:00+00:00", commit="fedcba9876543210")
    page = report.render([pair("short-1", 1.0), pair("bulk", 1.0, facts=newer)])
    assert "- short-1: 2026-01-05, commit 0123456789ab" in page
    assert "- bulk: 2026-02-01, commit fedcba987654" in page


def test_a_case_without_enough_pairs_is_named_with_the_command_that_measures_it() -> None:
    with pytest.raises(SetupError, match=r"benchmarks\.serving --cases short-1`"):
        report.latest_pairs(complete_run()[1:])


def test_cases_against_optional_peers_may_be_missing() -> None:
    optional = {case.name for case in CASES if case.against in PEERS}
    chosen = report.latest_pairs([row for row in complete_run() if row.case not in optional])
    assert {row.case for row in chosen} == {case.name for case in CASES} - optional


def test_the_page_keeps_its_text_and_gets_every_case_of_the_run(tmp_path: Path) -> None:
    page, results = tmp_path / "benchmarks.md", tmp_path / "rows.jsonl"
    page.write_text(
        "Before.\n<!-- serving: begin -->\nold table\n<!-- serving: end -->\nBetween.\n"
        "<!-- scenarios: begin -->\n<!-- scenarios: end -->\nAfter.\n",
        encoding="utf-8",
    )
    for row in complete_run(replace(FACTS, is_dirty=True), ratio=1.23):
        rows.append(results, row)
    report.write(page, results, tmp_path / "none.jsonl")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Before.\n<!-- serving: begin -->\n")
    assert "<!-- serving: end -->\nBetween.\n<!-- scenarios: begin -->\n### " in text
    assert text.endswith("\n<!-- scenarios: end -->\nAfter.\n")
    assert "old table" not in text
    assert "commit 0123456789ab with uncommitted changes, 2 × Example CPU; python 3.11.7, ray 2.60.0" in text
    assert "| one short text, 64 connections | requests/s | 1,200 | 600 | 1.23 | 1.23 – 1.23 | ≥ 1.7 |" in text
    assert [case.title in text for case in CASES] == [True] * len(CASES)


BEGIN, END = "<!-- serving: begin -->", "<!-- serving: end -->"


def test_writing_the_page_twice_changes_nothing() -> None:
    once = tables.replace_between_markers(f"{BEGIN}\n{END}", "serving", report.render(complete_run()))
    assert tables.replace_between_markers(once, "serving", report.render(complete_run())) == once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}" * 2])
def test_a_page_without_one_pair_of_markers_is_refused(page: str) -> None:
    with pytest.raises(SetupError, match="serving: begin"):
        tables.replace_between_markers(page, "serving", "table")


@pytest.mark.parametrize("name", ["serving", "scenarios"])
def test_the_page_in_the_repository_has_its_markers(name: str) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert "new table" in tables.replace_between_markers(page, name, "new table")


def test_the_report_line_of_wrk_is_found_after_its_own_text() -> None:
    output = f"Running 2s test @ http://127.0.0.1:1\n  1 threads and 16 connections\nRequests/sec: 600.00\n{WRK_LINE}\n"
    assert parse_wrk(output) == WrkReport(1200, 2.0, 1_800_000, 8.125, 20.5, {})


def test_failures_that_wrk_counted_are_kept_by_kind() -> None:
    line = WRK_LINE.replace('"status":0', '"status":3').replace('"timeout":0', '"timeout":1')
    assert parse_wrk(line).failures == {"status": 3, "timeout": 1}


def test_output_of_wrk_without_a_report_is_refused() -> None:
    with pytest.raises(LoadFailed, match="without a report"):
        parse_wrk("Running 2s test @ http://127.0.0.1:1\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"failures": {"status": 1}}, "status"),
        ({"requests": 0, "bytes_read": 0}, "No request"),
        ({"bytes_read": 1200 * 100}, "too few"),
    ],
)
def test_a_load_with_an_answer_that_is_not_a_vector_has_no_figures(change: dict[str, object], message: str) -> None:
    answered = parse_wrk(WRK_LINE)
    check_answers(answered, Expected(body_bytes=1365, tokens=20.0))
    with pytest.raises(LoadFailed, match=message):
        check_answers(replace(answered, **change), Expected(body_bytes=1365, tokens=20.0))  # type: ignore[arg-type]


def test_no_two_texts_of_a_load_are_the_same() -> None:
    texts = [short(serial) for serial in range(2000)] + batch(256, 0) + batch(256, 256)
    assert len(set(texts)) == len(texts)


def test_an_unknown_case_is_named_with_the_known_ones() -> None:
    with pytest.raises(SetupError, match=r"short-63.*short-64"):
        choose(["short-63"])


def test_chosen_cases_keep_their_usual_order() -> None:
    assert [case.name for case in choose(["bulk", "short-1"])] == ["short-1", "bulk"]


def test_cases_against_optional_peers_are_measured_only_when_asked_for() -> None:
    assert {case.against for case in choose([])} == {"server", "engine"}
    assert set(choose([], with_peers=True)) == set(CASES)
    assert [case.name for case in choose(["short-1-llm"])] == ["short-1-llm"]
