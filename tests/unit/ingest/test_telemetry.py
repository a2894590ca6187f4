"""What a run of ingestion tells a monitoring system."""

from __future__ import annotations

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.beat import beating
from ingest.ledger.records import Run
from ingest.receipts import Receipt, Trouble
from ingest.report import IngestReport
from ingest.telemetry import RunTelemetry, run_telemetry
from serve_app.telemetry.recorder import Recorder

NOW = 1_800_000_000.0


def told(recorder: Recorder) -> dict[str, float]:
    """Every sample, as `name` or `name outcome`. Fails if it is not of the collection `c`."""
    samples = [s for f in text_string_to_metric_families(recorder.samples().decode()) for s in f.samples]
    assert {sample.labels["collection"] for sample in samples} == {"c"}
    words = [" ".join([s.name, *(v for k, v in s.labels.items() if k != "collection")]) for s in samples]
    return dict(zip(words, (sample.value for sample in samples), strict=True))


def earlier(status: str, finished: float | None) -> Run:
    return Run("id", "c", "c_1", "{}", status, 0.0, finished)


def telemetry(recorder: Recorder, *runs: Run) -> RunTelemetry:
    made = RunTelemetry("c", recorder, lambda: NOW)
    made.remember(runs)
    return made


def test_files_chunks_and_reasons_are_counted_by_what_became_of_them() -> None:
    recorder, report = Recorder(), IngestReport(files=4, collection="c")
    one = telemetry(recorder)
    report.unchanged, report.known_dead = 7, 1
    one.plan(3, report)
    receipt = Receipt(
        "file:///a", "a", 1, 6, 6, embedded=3, tokens=90, troubles=[Trouble("embed", "not_embedded", "secret words")]
    )
    report.add(receipt)
    report.settled, report.complete, report.removed = 1, 1, 2
    report.troubles["a"] = list(receipt.troubles)
    one.take(receipt, report)
    report.settled = 2
    report.troubles["b"] = [Trouble("parse", "empty", "b is empty.")]
    one.take(Receipt("file:///b", "b", 1, 0, 0), report)
    assert told(recorder) == {
        "ingest_files_total unchanged": 7,
        "ingest_files_total known_dead": 1,
        "ingest_files_total stored": 1,
        "ingest_files_total left_out": 1,
        "ingest_chunks_total embedded": 3,
        "ingest_chunks_total kept": 2,
        "ingest_chunks_total failed": 1,
        "ingest_chunks_total removed": 2,
        "ingest_tokens_total": 90,
        "ingest_dead_letters_total not_embedded": 1,
        "ingest_dead_letters_total empty": 1,
        "ingest_pending_files": 1,
        "ingest_progress_timestamp_seconds": NOW,
    }
    assert b"secret words" not in recorder.samples()


@pytest.mark.parametrize(("outcome", "succeeded"), [("done", True), ("partial", True), ("failed", False)])
def test_only_a_run_that_came_to_its_end_moves_the_time_of_success(outcome: str, succeeded: bool) -> None:
    recorder = Recorder()
    telemetry(recorder).finish(IngestReport(files=0, collection="c"), outcome)
    assert told(recorder)[f"ingest_runs_total {outcome}"] == 1
    assert ("ingest_success_timestamp_seconds" in told(recorder)) == succeeded


def test_the_last_success_is_known_from_the_ledger_whatever_failed_since() -> None:
    recorder = Recorder()
    runs = (earlier("running", None), earlier("failed", 5.0), earlier("done, some left out", 4.0), earlier("done", 3.0))
    telemetry(recorder, *runs)
    assert told(recorder)["ingest_success_timestamp_seconds"] == 4.0
    assert not any(name.startswith("ingest_runs") for name in told(recorder))


def test_a_run_that_was_killed_is_counted_by_the_next_one_and_only_by_that() -> None:
    next_one, one_later = Recorder(), Recorder()
    killed = earlier("interrupted", None)
    telemetry(next_one, earlier("running", None), killed)
    telemetry(one_later, earlier("running", None), earlier("done", 9.0), killed)
    assert told(next_one)["ingest_runs_total interrupted"] == 1
    assert "ingest_runs_total interrupted" not in told(one_later)


def test_what_is_pruned_at_the_end_is_counted_too() -> None:
    recorder, report = Recorder(), IngestReport(files=0, collection="c")
    one = telemetry(recorder)
    report.pruned = 11
    one.finish(report, "done")
    assert told(recorder)["ingest_chunks_total removed"] == 11


def test_an_error_makes_the_run_a_failed_one_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[str] = []
    monkeypatch.setattr(RunTelemetry, "finish", lambda _, __, outcome: outcomes.append(outcome))
    report = IngestReport(files=0, collection="c")
    with pytest.raises(ValueError, match="broken"), run_telemetry("c", [], report):
        raise ValueError("broken")
    with run_telemetry("c", [], report):
        report.known_dead = 1
    with run_telemetry("c", [], IngestReport(files=0, collection="c")):
        pass
    assert outcomes == ["failed", "partial", "done"]


def test_gauges_are_repeated_while_nothing_happens_and_not_afterwards() -> None:
    class Flushed(Recorder):
        times = 0

        def flush(self) -> None:
            self.times += 1

    recorder = Flushed()
    with beating(recorder.flush, 0.005):
        deadline = time.monotonic() + 5
        while recorder.times < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
    seen = recorder.times
    time.sleep(0.05)
    assert seen == recorder.times >= 3
