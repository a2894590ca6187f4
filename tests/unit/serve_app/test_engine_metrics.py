"""What a replica's steps add to its metrics, read back as a scraper does."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.core.step_results import StepReport
from serve_app.core.types import Priority
from serve_app.telemetry.engine_metrics import EngineMetrics
from serve_app.telemetry.recorder import Recorder

TEXTS, TOKENS = {Priority.INTERACTIVE: 2, Priority.BULK: 3}, {Priority.INTERACTIVE: 20, Priority.BULK: 100}
STEP = StepReport(TEXTS, TOKENS, 0, 120, 0.01)


class Run:
    def __init__(self, peak_flops: float | None = 1e6) -> None:
        self.now = 50.0
        self.recorder = Recorder()
        self.metrics = EngineMetrics("qwen3", 500.0, peak_flops, self.recorder, clock=lambda: self.now)

    def value(self, name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(self.recorder.samples().decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == {"model": "qwen3"} | labels:
                    return sample.value
        return None

    def update_gauges(self) -> None:
        self.metrics.update_gauges(lambda priority: 100 + priority)


def test_steps_are_counted_by_class() -> None:
    run = Run()
    run.metrics.record(STEP)
    run.metrics.record(STEP)
    assert run.value("embed_engine_texts_total", **{"class": "bulk"}) == 6
    assert run.value("embed_engine_tokens_total", **{"class": "interactive"}) == 40
    assert run.value("embed_engine_step_tokens_sum") == 240
    assert run.value("embed_engine_step_seconds_sum") == pytest.approx(0.02)
    assert run.value("embed_engine_faults_total") is None


def test_a_step_in_the_middle_of_a_long_text_counts_what_it_computes() -> None:
    run = Run()
    run.metrics.record(StepReport(dict.fromkeys(Priority, 0), dict.fromkeys(Priority, 0), 0, 120, 0.01))
    run.now += 2.0
    run.update_gauges()
    assert run.value("embed_engine_step_tokens_sum") == 120
    assert run.value("embed_engine_tokens_per_second") == 60


def test_faults_are_counted() -> None:
    run = Run()
    run.metrics.record(StepReport(TEXTS, TOKENS, 4, 120, 0.01))
    assert run.value("embed_engine_faults_total") == 4


def test_gauges_are_means_over_the_time_since_their_last_update_and_idle_time_counts() -> None:
    run = Run()
    for _ in range(5):
        run.metrics.record(STEP)
    run.now += 2.0
    run.update_gauges()
    assert run.value("embed_engine_tokens_per_second") == 300
    assert run.value("embed_engine_mfu_ratio") == pytest.approx(300 * 500 / 1e6)
    assert run.value("embed_engine_queue_tokens", **{"class": "bulk"}) == 101
    run.now += 10.0
    run.update_gauges()
    assert run.value("embed_engine_tokens_per_second") == 0


def test_gauges_change_at_most_twice_a_second() -> None:
    run = Run()
    run.now += 0.4
    run.update_gauges()
    assert run.value("embed_engine_tokens_per_second") is None
    run.now += 0.1
    run.update_gauges()
    assert run.value("embed_engine_tokens_per_second") == 0


def test_without_a_known_peak_there_is_no_mfu() -> None:
    run = Run(peak_flops=None)
    run.now += 2.0
    run.update_gauges()
    assert run.value("embed_engine_tokens_per_second") == 0
    assert run.value("embed_engine_mfu_ratio") is None
