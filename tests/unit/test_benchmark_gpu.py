"""The GPU benchmark without a GPU and without an engine: what is chosen, left out, computed, sent and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.gpu import bars, device, report, servers
from benchmarks.gpu.case_process import Failed, Job, parse
from benchmarks.gpu.cases import CASES, QUICK, Case, Scale, choose, lengths_of, quick
from benchmarks.gpu.rows import BF16, GpuRow, Measured, mfu, missing_loads, read
from benchmarks.gpu.run import Model, Plan, run
from benchmarks.rows import Facts, append
from serve_app.core.errors import SetupError

FACTS = Facts("2026-01-05T10:00:00+00:00", "0123456789abcdef", False, "Example CPU", 2, {"ray": "2.60.0"}, {})
ENGINE, PRODUCT, PEER, FP8 = (
    next(case for case in CASES if case.name == name) for name in ("engine", "product-4", "peer-4", "engine-fp8")
)


def row(case: Case, load: str, figures: Mapping[str, float], model: str = "4B", facts: Facts = FACTS) -> GpuRow:
    return GpuRow(facts, facts.run, "Example GPU", model, case.name, case.settings, Measured(load, dict(figures)))


def test_cases_are_chosen_by_name_or_by_its_beginning_in_order_of_worth() -> None:
    assert choose([]) == CASES
    assert [case.name for case in choose(["peer-1", "engine"])] == ["engine", "peer-1"]
    assert {case.kind for case in choose(["product*"])} == {"product"}
    with pytest.raises(SetupError, match="no case nothing; cases: ceilings, engine"):
        choose(["nothing"])


def test_loads_are_chosen_too_and_a_case_without_any_is_left_out() -> None:
    assert [(case.name, case.loads) for case in choose(["engine", "peer-1"], ["short-1", "short-6*"])] == [
        ("peer-1", ("short-1", "short-64"))
    ]
    with pytest.raises(SetupError, match="no load long; loads: ceilings, ids-512"):
        choose([], ["long"])


def test_names_of_cases_and_of_their_loads_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(len(set(case.loads)) == len(case.loads) for case in CASES)


def test_the_4b_engine_comes_before_the_product_and_the_product_before_its_peer() -> None:
    assert [case.kind for case in CASES[:4]] == ["ceilings", "engine", "product", "peer"]
    assert ENGINE.loads[0] == PRODUCT.loads[0] == "ids-512"


def test_a_quick_run_has_one_small_case_of_each_kind() -> None:
    chosen = quick(CASES)
    assert [case.kind for case in chosen] == ["ceilings", "engine", "product", "peer"]
    assert all(case.processes == 1 and not case.arguments for case in chosen)
    assert QUICK.request_tokens < Scale().request_tokens


def test_the_lengths_of_a_load_are_those_the_model_takes() -> None:
    assert lengths_of("ids-512", 2048) == (512,)
    assert lengths_of("text-8192", 2048) == ()
    assert max(lengths_of("ids-mixed", 2048)) == 2048


def test_only_loads_with_a_row_of_the_same_commit_device_and_settings_are_left_out() -> None:
    mine = row(ENGINE, "", {})
    others = [
        row(ENGINE, "ids-512", {}),
        row(ENGINE, "ids-32", {}, facts=replace(FACTS, commit="another")),
        row(replace(ENGINE, step_tokens=4096), "ids-128", {}),
        row(ENGINE, "ids-2048", {}, model="8B"),
        replace(row(ENGINE, "ids-8192", {}), device="Another GPU"),
    ]
    assert missing_loads(ENGINE, others, mine) == ENGINE.loads[1:]


def test_a_row_survives_its_file(tmp_path: Path) -> None:
    written = row(PRODUCT, "flood", {"p99_ratio_4": 1.5})
    append(tmp_path / "rows.jsonl", written)
    assert read(tmp_path / "rows.jsonl") == [written]


def test_a_run_with_nothing_left_to_measure_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "device_name", lambda: "Example GPU")
    model, said = Model("4B", tmp_path), list[str]()
    settings = {**ENGINE.settings, "is_dummy": False, "seconds": 6.0}
    for load in ENGINE.loads:
        append(tmp_path / "rows.jsonl", replace(row(ENGINE, load, {}), settings=settings))
    plan = Plan((ENGINE,), Scale(), tmp_path / "rows.jsonl", 60, FACTS.commit)
    assert run(plan, model, said.append) == 0
    assert said == ["all of these have rows already"]


def test_fp8_and_missing_weights_leave_cases_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    plan, said = Plan((FP8, PRODUCT), Scale(), tmp_path / "rows.jsonl", 60, "commit"), list[str]()
    assert run(plan, Model("4B", tmp_path, is_dummy=True), said.append) == 0
    assert said[:2] == [
        "engine-fp8: left out, fp8 needs a GPU",
        "product-4: left out, it needs a checkpoint with weights",
    ]


def test_mfu_is_judged_by_the_rate_measured_in_the_same_run() -> None:
    another = replace(FACTS, run="2026-01-06T10:00:00+00:00")
    mine = row(ENGINE, "ids-512", {"flops_per_s": 600e12})
    assert mfu(mine, [row(CASES[0], "ceilings", {BF16: 100e12}, facts=another)]) is None
    found = [row(CASES[0], "ceilings", {BF16: 100e12}, facts=another), row(CASES[0], "ceilings", {BF16: 800e12})]
    assert mfu(mine, found) == pytest.approx(0.75)


def test_verdicts_take_the_best_case_of_each_side_and_the_newest_row_of_each_case() -> None:
    found = [
        row(CASES[0], "ceilings", {BF16: 800e12}),
        row(ENGINE, "ids-512", {"flops_per_s": 700e12, "tokens_per_s": 90_000}),
        row(ENGINE, "ids-512", {"flops_per_s": 480e12, "tokens_per_s": 60_000}),
        row(FP8, "ids-512", {"tokens_per_s": 96_000}),
        row(FP8, "vectors", {"cosine_least": 0.98}),
        row(PRODUCT, "ids-32", {"tokens_per_s": 60_000}),
        row(PEER, "ids-32", {"tokens_per_s": 40_000}),
        row(replace(PEER, name="peer-1"), "ids-32", {"tokens_per_s": 55_000}),
        row(PRODUCT, "flood", {"p99_ratio_4": 1.9, "kept_4": 0.9}),
    ]
    values = {bar.title: (round(bar.value(found) or 0.0, 3), bar.verdict(bar.value(found))) for bar in bars.BARS}
    assert values["4B, 512 tokens, bare engine: MFU"] == (0.6, "missed")
    assert values["4B, 512 tokens, fp8 ÷ bf16"] == (1.6, "met")
    assert values["4B, fp8 to bf16: least cosine of 64 texts"] == (0.98, "missed")
    assert values["4B, 32 tokens, HTTP ÷ vLLM's API server"] == (1.091, "missed")
    assert values["4B, interactive p99 beside a flood ÷ alone"] == (1.9, "met")
    assert values["0.6B, 512 tokens, HTTP: MFU"] == (0.0, bars.NOT_MEASURED)


def test_the_page_says_so_while_there_are_no_rows(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(report.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    report.write(page, tmp_path / "no-rows.jsonl")
    assert f"<!-- gpu: begin -->\n{report.NO_ROWS}\n<!-- gpu: end -->" in page.read_text(encoding="utf-8")


def test_the_page_holds_ceilings_pictures_and_every_load() -> None:
    ceilings = row(CASES[0], "ceilings", {BF16: 800e12, "copy_bytes": 4e12})
    page = report.render([ceilings, row(ENGINE, "ids-512", {"flops_per_s": 400e12, "step_p50_ms": 2.0})], ["img/a.svg"])
    assert "| engine | ids-512 |  |  | 50.0% |" in page
    assert "bf16 800 TFLOP/s; copies 4.00 TB/s." in page
    assert "![a](img/a.svg)" in page


def test_a_job_survives_its_command_line_and_lines_of_libraries_are_no_answers() -> None:
    job = Job(next(case for case in CASES if case.arguments), QUICK, "/models/m", False)
    assert Job.from_json(job.to_json()) == job
    assert parse(json.dumps(asdict(Measured("ids-32", {"p50_ms": 1.0})))) == Measured("ids-32", {"p50_ms": 1.0})
    assert parse(json.dumps(asdict(Failed("", "no memory")))) == Failed("", "no memory")
    assert parse("INFO loading weights") is None


def test_the_peer_looks_for_compiled_code_where_the_engine_left_it() -> None:
    assert servers.PEER_ENVIRONMENT["VLLM_CONFIGURE_LOGGING"] == "0"  # as serve_app.engines.vllm_engine sets it


def test_the_peer_gets_the_engine_options_of_the_product() -> None:
    options = servers.peer_options(replace(FP8, is_compiled=False), Scale(step_divisor=2), 2048)
    pairs = dict(pairwise(options))
    assert (pairs["--max-num-batched-tokens"], pairs["--max-num-seqs"]) == ("8192", "512")
    assert (pairs["--quantization"], pairs["--max-model-len"], "--enforce-eager" in options) == ("fp8", "2048", True)
