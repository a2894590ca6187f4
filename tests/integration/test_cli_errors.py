"""What goes wrong at the command line ends in one clear sentence, never in a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.clusters import embedctl, free_port


def _sentence(*arguments: str, exit_code: int = 1) -> str:
    finished = embedctl(*arguments, timeout_s=60)

    assert finished.returncode == exit_code, finished.stdout
    assert "Traceback" not in finished.stderr
    assert finished.stderr.startswith("embedctl: ")
    assert len(finished.stderr.strip().splitlines()) == 1
    return finished.stderr


def test_a_port_in_use_is_named(checkpoint: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert f"127.0.0.1:{port}" in _sentence("serve", "--model", str(checkpoint), "--port", str(port))


def test_a_missing_model_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no-model"

    assert str(missing) in _sentence("serve", "--model", str(missing), "--port", str(free_port()))


def test_a_directory_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    assert "config.json" in _sentence("serve", "--model", str(tmp_path), "--port", str(free_port()))


def test_an_unknown_key_in_the_configuration_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("http: {prot: 8000}\n")

    assert "`port`" in _sentence("serve", "--config", str(config), exit_code=2)


def test_models_that_do_not_fit_the_described_hardware_stop_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("models: [{path: Qwen/Qwen3-Embedding-8B}]\nhardware: {gpu: t4, gpus_per_node: 1}\n")

    assert "of weights" in _sentence("serve", "--config", str(config), exit_code=2)


def test_a_preset_that_does_not_exist_is_named_with_the_nearest() -> None:
    assert "`fleet`" in _sentence("search", "anything", "--config", "preset:fleat", exit_code=2)


def test_searching_without_a_cluster_says_how_to_start_one() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"

    assert "embedctl serve" in _sentence("search", "anything", "--endpoint", endpoint)


def test_a_source_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in _sentence("ingest", str(tmp_path / "nowhere"))


def test_a_folder_without_documents_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in _sentence("ingest", str(tmp_path))


def test_ingesting_without_a_cluster_says_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")

    assert "embedctl serve" in _sentence("ingest", str(tmp_path), "--address", f"127.0.0.1:{free_port()}")
