from __future__ import annotations

import os
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from cluster import environment
from cluster.environment import PORT_VARIABLES, SERVE_ENVIRONMENT, cluster_environment, free_ports, node_environment


def test_the_environment_of_a_cluster_is_the_same_wherever_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cluster_environment()
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    monkeypatch.setattr(environment, "_connections", lambda: 7)
    assert cluster_environment() == before == SERVE_ENVIRONMENT


def test_changing_what_was_given_out_changes_nothing_for_others() -> None:
    cluster_environment().clear()
    assert cluster_environment()


def test_a_node_is_told_its_own_connections_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_connections", lambda: 7)
    assert node_environment() == {**SERVE_ENVIRONMENT, "RAY_SERVE_HAPROXY_MAXCONN": "7"}


def test_ports_are_free_and_all_different() -> None:
    ports = free_ports()
    assert tuple(ports) == PORT_VARIABLES
    assert len(set(ports.values())) == len(PORT_VARIABLES)


def test_a_shell_reads_the_lines_as_they_are_meant() -> None:
    lines = environment.export_lines({"A_NAME": "two words", "OTHER": "it's $HOME"})
    script = f'{lines}echo {shlex.quote("-")} "$A_NAME" "$OTHER"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == (
        "- two words it's $HOME\n"
    )


def test_what_an_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "2"})
    environment.prepare_environment()
    assert os.environ["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"] == "2"
    assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def test_a_process_without_serves_variables_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: "anything" for name in SERVE_ENVIRONMENT if name != "RAY_SERVE_ENABLE_HA_PROXY"}
    monkeypatch.setattr(os, "environ", names)
    assert environment.missing_here() == ["RAY_SERVE_ENABLE_HA_PROXY"]


def test_every_variable_of_serve_is_one_that_it_reads() -> None:
    """A misspelt one would be ignored in silence."""
    package = find_spec("ray")
    assert package is not None
    assert package.origin is not None
    text = (Path(package.origin).parent / "serve" / "_private" / "constants.py").read_text(encoding="utf-8")
    names = [name for name in (*SERVE_ENVIRONMENT, *PORT_VARIABLES) if name.startswith("RAY_SERVE_")]
    assert [name for name in names if f'"{name}"' not in text] == []
