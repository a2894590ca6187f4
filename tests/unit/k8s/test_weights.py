"""A model is downloaded once, at its commit, and a half one is never taken for a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from cluster.commands.weights import MARKER, fetch, weights
from serve_app.core.errors import SetupError

COMMIT = "0123456789" * 4
Download = Callable[..., str]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Download], list[tuple[str, str]]]:
    """Puts a stand-in in the hub's place; gives the downloads asked for."""

    def replace(download: Download) -> list[tuple[str, str]]:
        asked: list[tuple[str, str]] = []

        def snapshot_download(name: str, revision: str, local_dir: Path) -> str:
            asked.append((name, revision))
            return download(local_dir)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return replace


def whole(local_dir: Path) -> str:
    (local_dir / ".cache").mkdir()
    (local_dir / "config.json").write_text("{}")
    return str(local_dir)


def half(local_dir: Path) -> str:
    (local_dir / "config.json").write_text("{")
    raise LocalEntryNotFoundError("the network is down")


def test_a_model_is_downloaded_once(hub: Any, tmp_path: Path) -> None:
    asked = hub(whole)
    assert fetch("org/model", COMMIT, tmp_path / "model")
    assert not fetch("org/model", COMMIT, tmp_path / "model")
    assert asked == [("org/model", COMMIT)]
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", MARKER}


def test_a_download_that_breaks_off_leaves_nothing_that_looks_complete(hub: Any, tmp_path: Path) -> None:
    hub(half)
    with pytest.raises(SetupError, match="org/model could not be downloaded"):
        fetch("org/model", COMMIT, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    hub(lambda local_dir: str((local_dir / "weights").write_text("w")))
    assert fetch("org/model", COMMIT, tmp_path / "model")
    assert (tmp_path / "model" / "config.json").exists()  # what had come stays and is gone on from


def test_a_directory_with_something_else_in_it_is_left_alone(hub: Any, tmp_path: Path) -> None:
    asked = hub(whole)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").touch()
    with pytest.raises(SetupError, match="is not empty"):
        fetch("org/model", COMMIT, tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]
    assert asked == []


def test_an_empty_directory_is_filled(hub: Any, tmp_path: Path) -> None:
    hub(whole)
    (tmp_path / "model").mkdir()
    assert fetch("org/model", COMMIT, tmp_path / "model")


def test_a_directory_is_never_there_without_its_marker(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dies between two steps must be able to go on."""
    hub(whole)
    rename = Path.rename
    seen: list[bool] = []

    def look(partial: Path, target: Path) -> Path:
        seen.append((partial / MARKER).is_file())
        return rename(partial, target)

    monkeypatch.setattr(Path, "rename", look)
    assert fetch("org/model", COMMIT, tmp_path / "model")
    assert seen == [True]


def test_a_disk_that_refuses_is_named(hub: Any, tmp_path: Path) -> None:
    hub(whole)
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be written"):
        fetch("org/model", COMMIT, tmp_path / "file" / "model")


@pytest.mark.parametrize("pinned", ["org/model", "org/model@main", "model@" + COMMIT, f"org/model@{COMMIT[:-1]}"])
def test_a_model_without_its_commit_is_refused(pinned: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="40 hexadecimal digits"):
        weights([pinned], [tmp_path])


def test_every_model_needs_its_directory(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="2 --model and 1 --to"):
        weights([f"a/b@{COMMIT}", f"a/c@{COMMIT}"], [tmp_path])
