"""Paths of a configuration: relative to its own folder where it is written, absolute where it is used."""

from __future__ import annotations

from pathlib import Path

from serve_app.settings import ModelSettings


def model_in(model: ModelSettings, folder: Path) -> ModelSettings:
    """The model of a configuration in `folder`, with paths that hold in every working directory."""
    update = {"path": local_or_hub(model.path, folder)}
    if model.golden is not None:
        update["golden"] = absolute(model.golden, folder)
    return model.model_copy(update=update)


def absolute(path: str, folder: Path) -> str:
    """A file that a configuration in `folder` names."""
    return str((folder / Path(path).expanduser()).resolve())


def local_or_hub(path: str, folder: Path) -> str:
    """The absolute path of a directory; the name of a model on the hub or in a package as it is."""
    local = folder / Path(path).expanduser()
    return str(local.resolve()) if local.is_dir() else path
