"""`embedctl plan`, as people and as programs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster import cli
from cluster.config import ConfigError, load_config


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["plan", *arguments], catch_exceptions=False, env={"COLUMNS": "160"})
    assert result.exit_code == 0
    return result.output


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        shown(*arguments)
    return caught.value.message


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_plan_shows_decisions_with_their_reasons_and_totals() -> None:
    text = shown("--preset", "fleet")
    assert "models.0.autoscaling.max_replicas" in text
    assert "as many as fit on 8 nodes" in text
    assert "2 nodes, 8 GPUs, about 199,267 tokens/s, 1,434,723 documents of 500 tokens an hour, $16.00 an hour" in text
    assert "8 nodes, 32 GPUs" in text
    assert "an estimate" in text


def test_a_plan_without_a_price_says_nothing_of_cost() -> None:
    assert "an hour\n" in shown("--preset", "laptop-cpu")
    assert "$" not in shown("--preset", "laptop-cpu")


def test_a_plan_as_json_has_what_the_cluster_then_does() -> None:
    plan: dict[str, Any] = json.loads(shown("--preset", "node-8-gpu", "--json"))
    values = {decision["key"]: decision["value"] for decision in plan["decisions"]}
    config = load_config(Path("preset:node-8-gpu"))
    assert values["models.0.replicas"] == config.models[0].replicas == 8
    assert values["router.replicas"] == config.router.replicas
    assert plan["totals"]["nodes"]["gpus"] == 8
    assert plan["totals"]["nodes"]["cost_per_million_tokens"] > 0
    assert plan["models"][0]["memory"]["weights"] == pytest.approx(7.49, abs=0.01)


def test_presets_are_listed() -> None:
    assert [name for name in ("fleet", "laptop-cpu", "node-8-gpu", "one-gpu") if name not in shown("-p", "list")] == []
    assert set(json.loads(shown("--preset", "list", "--json"))) == {"fleet", "laptop-cpu", "node-8-gpu", "one-gpu"}


def test_a_file_and_a_preset_can_be_planned_by_the_same_option(tmp_path: Path) -> None:
    assert shown("--config", "preset:one-gpu") == shown("--preset", "one-gpu")
    assert "models.0.replicas" in shown("--config", written(tmp_path, "hardware: {cpus_per_node: 4}\n"))


def test_a_model_of_unknown_size_is_planned_without_figures(tmp_path: Path) -> None:
    model = "models: [{path: org/unknown, gpus_per_replica: 1}]"
    hardware = "hardware: {gpu: l4, gpus_per_node: 1, cpus_per_node: 8, memory_gib_per_node: 32}"
    text = shown("--config", written(tmp_path, f"{model}\n{hardware}\n"))
    assert "not known" in text
    assert "1 node, 1 GPUs, $0.80 an hour" in text


def test_a_configuration_without_hardware_is_only_checked(tmp_path: Path) -> None:
    assert shown().startswith("The default configuration is valid. It describes no `hardware`")
    path = written(tmp_path, "http: {port: 9000}\n")
    assert shown("--config", path).startswith(f"{path} is valid.")
    assert json.loads(shown("--config", path, "--json"))["models"] == []
    assert refusal("--config", written(tmp_path, "http: {prot: 9000}\n")).endswith("did you mean `port`?")


def test_a_preset_beside_a_file_is_refused(tmp_path: Path) -> None:
    assert refusal("--config", written(tmp_path, ""), "--preset", "fleet").startswith(
        "Give either --config or --preset"
    )


def test_a_wrong_configuration_ends_with_exit_code_2_and_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "hardware: {gpu: l40}\n")
    monkeypatch.setattr("sys.argv", ["embedctl", "plan", "--config", path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "the nearest is `l4" in capsys.readouterr().err
