from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from cluster import environment
from cluster.commands.keys import create_key
from cluster.config import ClusterConfig
from cluster.running import local
from cluster.running.preflight import check_resources
from serve_app.core.errors import SetupError
from tests.unit.serve_app.checkpoints import qwen3_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return qwen3_checkpoint(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("open_files", "connections"),
    [
        (20_000, 7_590),
        (1_048_576, 100_000),
        (resource.RLIM_INFINITY, 100_000),
        (64, 1),
    ],
)
def test_haproxy_is_asked_for_no_more_connections_than_it_may_open(
    monkeypatch: pytest.MonkeyPatch, open_files: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, open_files))
    assert environment._connections() == connections


def test_the_resources_of_every_tensor_parallel_rank_count() -> None:
    models = [{"path": "a/b", "gpus_per_replica": 1, "tensor_parallel": 2, "replicas": 3}]
    config = ClusterConfig.model_validate({"models": models})
    check_resources(config, {"CPU": 8, "GPU": 6}, "this machine")
    with pytest.raises(SetupError, match=r"asks for 6 GPUs and this machine has 5: .*`tensor_parallel`"):
        check_resources(config, {"CPU": 8, "GPU": 5}, "this machine")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check(checkpoint: Path, **fields: object) -> None:
    content = {"models": [{"path": str(checkpoint)}], "http": {"port": free_port()}, **fields}
    local.check_before_start(ClusterConfig.model_validate(content))


def test_a_keys_file_is_read_before_the_start(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    with pytest.raises(SetupError, match="embedctl keys create"):
        check(checkpoint, auth={"keys_file": str(path)})

    create_key(path, "alice", ["embed"])

    check(checkpoint, auth={"keys_file": str(path)})


def test_missing_reference_vectors_are_found_before_the_start(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"golden\.json"):
        check(checkpoint, models=[{"path": str(checkpoint), "golden": str(tmp_path / "golden.json")}])


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "ek_1")
    monkeypatch.delenv("NO_KEY", raising=False)
    assert (environment.secret_in("SOME_KEY"), environment.secret_in("NO_KEY")) == ("ek_1", "")
