"""What the ingestion benchmark reads from outputs and counters, and how it turns them into figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import ingest, ingest_corpus, ingest_job, ingest_memory, ingest_watch
from benchmarks.ingest_engine import load_slices, save_slices
from benchmarks.ingest_job import Job, WatchedJob
from benchmarks.ingest_memory import Look
from benchmarks.ingest_watch import Counters, EngineWork, JobProcesses, Memory, Watch
from benchmarks.load import LoadFailed
from benchmarks.scenarios import CHECKS
from serve_app.core.errors import SetupError

REPORT = """
  chunks ━━━━━━━━━━━ 2256/2256 0:01:05
                 Ingestion
┌─────────────────────────────┬────────────┐
│ files                       │ 60 of 60   │
│ chunks                      │ 2,256      │
│   embedded now              │ 2,250      │
│   in the collection         │ 2,256      │
│ time                        │ 67.1 s     │
└─────────────────────────────┴────────────┘
"""
TOLD = {"embedded": 2000.0, "chunks": 2000.0, "stored": 2000.0, "job_s": 30.0}
ALONE = {
    "chunks": 2000.0, "tokens": 600_000.0,
    "parse_s": 4.0, "embed_s": 20.0, "write_s": 5.0,
    "parse_cpu_s": 4.0 * ingest.CORES, "embed_cpu_s": 18.0 * ingest.CORES, "write_cpu_s": 2.0 * ingest.CORES,
}  # fmt: skip
BARE = {"tokens": 600_000.0, "seconds": 19.0}
FIRST = WatchedJob(Job(TOLD, 31.0, 33.0), 7.0, EngineWork(24.0, 600_000.0, 18.0), 1.9)
AGAIN = Job({**TOLD, "embedded": 0.0, "job_s": 0.6}, 3.0, 3.3)


def test_the_report_of_a_job_is_read_from_its_table() -> None:
    assert ingest_job.report_in(REPORT) == {"embedded": 2250, "chunks": 2256, "stored": 2256, "job_s": 67.1}


def test_a_job_that_printed_no_report_has_no_figures() -> None:
    with pytest.raises(LoadFailed, match="no whole report"):
        ingest_job.report_in("The store is gone.")


def test_the_ray_address_is_found_though_the_terminal_broke_the_line() -> None:
    log = (
        "At http://127.0.0.1:8410/v1\nTry it. Ray's address, for `embedctl ingest`: \n192.0.2.7:45985\nCtrl-C stops.\n"
    )
    assert ingest_job.address_in(log) == "192.0.2.7:45985"
    with pytest.raises(LoadFailed, match="no Ray address"):
        ingest_job.address_in("Loading.\n")


def test_counters_are_summed_over_replicas_and_classes() -> None:
    exposition = "\n".join(
        [
            "# HELP embed_engine_tokens_total Tokens.",
            'embed_engine_tokens_total{replica="a",class="bulk"} 10.0',
            'embed_engine_tokens_total{replica="b",class="interactive"} 5.0',
            'embed_engine_step_seconds_sum{replica="a"} 0.5',
            'embed_engine_step_seconds_sum{replica="b"} 0.25',
            'embed_tokens_total{replica="r"} 99.0',
        ]
    )
    assert ingest_watch.parse_counters(exposition, 3.0) == Counters(3.0, 15.0, 0.75)


def test_the_engines_work_reaches_from_before_the_first_token_to_the_last() -> None:
    seen = [Counters(at, tokens, tokens / 100) for at, tokens in ((0, 7), (1, 7), (2, 57), (3, 57), (4, 107), (9, 107))]
    assert ingest_watch.engine_work(seen) == EngineWork(3, 100, 1.0)


def test_an_engine_that_computed_nothing_has_no_rate() -> None:
    with pytest.raises(SetupError, match="computed nothing"):
        ingest_watch.engine_work([Counters(0, 7, 0), Counters(1, 7, 0)])


def test_what_goes_wrong_while_watching_is_told_at_the_end() -> None:
    def look() -> None:
        raise SetupError("gone")

    watch = Watch(look, 0.001)
    watch.__enter__()
    with pytest.raises(SetupError, match="gone"):
        _end(watch)


def _end(watch: Watch) -> None:
    time.sleep(0.05)
    watch.__exit__(None)


def test_a_process_started_later_is_the_jobs_with_its_children_and_an_earlier_one_is_not() -> None:
    session = os.getsid(0)
    earlier = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        jobs = JobProcesses(session)
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], start_new_session=True)"
        later = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        try:
            found = _wait_for_a_child(jobs, later.pid)
        finally:
            later.communicate(b"\n")
    finally:
        earlier.communicate(b"\n")
    assert later.pid in found
    assert earlier.pid not in found


def _wait_for_a_child(jobs: JobProcesses, pid: int) -> set[int]:
    return next(pids for _ in range(500) if len(pids := jobs.all_pids(pid)) > 1)


def test_the_memory_of_a_process_is_at_least_what_it_does_not_share() -> None:
    memory = ingest_watch.memory_of({os.getpid()})
    assert memory.rss >= memory.private > 1
    assert ingest_watch.memory_of({2**22 + 1}) == Memory(0.0, 0.0)


def test_figures_compare_the_stages_with_the_engine_and_the_job_with_its_slowest_stage() -> None:
    found = ingest.figures(ALONE, BARE, FIRST, AGAIN)
    assert found["embed_ratio"] == pytest.approx(19 / 20)
    assert found["in_job_ratio"] == pytest.approx(19 / 24)
    assert found["in_job_engine_share"] == pytest.approx(18 / 24)
    assert found["overlap"] == pytest.approx((31 - 7) / 20)
    assert found["overlap_with_start"] == pytest.approx(31 / 20)
    assert found["overlap_floor"] == pytest.approx(24 / 20)
    assert found["again_command_ratio"] == pytest.approx(0.1)
    assert found["again_job_ratio"] == pytest.approx(0.02)
    assert found["again_embedded"] == 0


def test_a_stage_that_uses_little_of_the_machine_leaves_the_slowest_as_the_floor() -> None:
    idle = {**ALONE, "parse_cpu_s": 0.1, "embed_cpu_s": 0.1, "write_cpu_s": 0.1}
    assert ingest.figures(idle, BARE, FIRST, AGAIN)["overlap_floor"] == 1.0


@pytest.mark.parametrize("key", ["chunks", "embedded", "stored"])
def test_a_job_that_did_other_work_than_the_stages_has_no_figures(key: str) -> None:
    other = replace(FIRST, job=replace(FIRST.job, told={**TOLD, key: 1999.0}))
    with pytest.raises(LoadFailed, match="stages alone made 2000"):
        ingest.figures(ALONE, BARE, other, AGAIN)


def test_every_figure_of_a_trial_has_a_check_and_every_check_a_figure() -> None:
    mine = {name: {check.figure for check in CHECKS if check.scenario == name} for name in ("ingest", "ingest_memory")}
    assert mine["ingest"] == set(ingest.figures(ALONE, BARE, FIRST, AGAIN))
    assert mine["ingest_memory"] == set(ingest_memory.outcome(_looks(), 1024.0, STORED).figures)


STORED = {"chunks": 500.0, "embedded": 500.0, "stored": 500.0, "job_s": 60.0}


def _looks() -> list[Look]:
    rss = [100.0, 900.0, 600.0, 610.0, 620.0]
    return [Look(60.0 * n, Memory(value, value / 2), n) for n, value in enumerate(rss)]


def test_memory_is_reported_at_its_peak() -> None:
    figures = ingest_memory.outcome(_looks(), 1024.0, STORED).figures
    assert (figures["peak_rss_mib"], figures["peak_private_mib"], figures["processes"]) == (900, 450, 1)
    assert (figures["chunks"], figures["job_s"]) == (500, 60)


def test_a_job_that_was_not_seen_or_stored_too_little_has_no_memory_figures() -> None:
    with pytest.raises(LoadFailed, match="before anybody looked"):
        ingest_memory.outcome([], 20.0, STORED)
    with pytest.raises(LoadFailed, match="Of 500 chunks, 499 are in the collection"):
        ingest_memory.outcome(_looks(), 20.0, {**STORED, "stored": 499.0})


@settings(deadline=None, max_examples=25)  # the machine may be busy
@given(st.lists(st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=6), min_size=1, max_size=4), min_size=1))
def test_slices_survive_the_file(slices: list[list[list[int]]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "slices.npz"
        save_slices(path, [[np.array(text, dtype=np.int32) for text in slice_] for slice_ in slices])
        assert [[text.tolist() for text in slice_] for slice_ in load_slices(path)] == slices


def test_the_same_seed_gives_the_same_folder_and_no_paragraph_comes_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ingest_corpus.write_folder(tmp_path / name, files=3)
    texts = [[path.read_text(encoding="utf-8") for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b")]
    assert texts[0] == texts[1]
    paragraphs = [block for text in texts[0] for block in text.split("\n\n") if not block.startswith("#")]
    assert len(set(paragraphs)) == len(paragraphs) == 3 * ingest_corpus.SECTIONS * ingest_corpus.PARAGRAPHS


def test_a_large_file_is_whole_lines_of_json_with_distinct_texts_and_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    ingest_corpus.write_jsonl(path, 0.25)
    content = path.read_bytes()
    assert 0.25 <= len(content) / ingest_corpus.MIB < 0.3
    texts = [json.loads(line)["text"] for line in content.splitlines()]
    assert len(set(texts)) == len(texts)
    ingest_corpus.write_jsonl(path, 0.25, seed=2)
    assert path.read_bytes() == content
