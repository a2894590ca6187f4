from __future__ import annotations

from pathlib import Path

import pytest

from cluster.running.orphans import orphaned_proxy


def process(processes: Path, number: int, command: str, parent: int = 1) -> None:
    folder = processes / str(number)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n", encoding="utf-8")


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    (tmp_path / "haproxy.cfg").write_text("frontend stats\n    bind :9101\nfrontend http\n  bind 127.0.0.1:8000\n")
    process(tmp_path / "proc", 1, "/sbin/init")
    process(tmp_path / "proc", 5, "ray::HAProxyManager")
    process(tmp_path / "proc", 6, "/usr/bin/python -m http.server 8000")
    return tmp_path / "proc"


def haproxy(processes: Path) -> str:
    return f"/opt/bin/haproxy -db -f {processes.parent}/haproxy.cfg -dR"


def test_the_proxy_of_a_cluster_that_is_gone_is_found_by_its_port(processes: Path) -> None:
    process(processes, 77, haproxy(processes))
    assert orphaned_proxy(8000, processes) == 77
    assert orphaned_proxy(9101, processes) == 77
    assert orphaned_proxy(80, processes) is None


def test_the_proxy_of_a_running_cluster_is_left_alone(processes: Path) -> None:
    process(processes, 77, haproxy(processes), parent=5)
    assert orphaned_proxy(8000, processes) is None


def test_a_proxy_whose_configuration_is_gone_is_not_guessed_at(processes: Path) -> None:
    process(processes, 77, haproxy(processes))
    (processes.parent / "haproxy.cfg").unlink()
    assert orphaned_proxy(8000, processes) is None
