"""`embedctl weights`: checkpoints of the Hugging Face hub into a directory, each at one commit, each once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from serve_app.core.errors import SetupError

MARKER = ".complete"  # written last: a directory without it is not to be read
PINNED = re.compile(r"([^/@\s]+/[^/@\s]+)@([0-9a-f]{40})")
console = Console()


def weights(
    model: Annotated[list[str], typer.Option("--model", "-m", help="NAME@COMMIT on the hub; may be given again.")],
    to: Annotated[list[Path], typer.Option("--to", help="Its directory; one for each --model, in the same order.")],
) -> None:
    """Download models into directories. Run again it does nothing: what is complete stays as it is.

    Example: `embedctl weights --model Qwen/Qwen3-Embedding-0.6B@97b0c614be4d77ee51c0cef4e5f07c00f9eb65b3 --to ./qwen3`
    """
    if len(model) != len(to):
        raise SetupError(f"There are {len(model)} --model and {len(to)} --to: give one directory for each model.")
    for pinned, directory in zip(model, to, strict=True):
        found = PINNED.fullmatch(pinned)
        if found is None:
            raise SetupError(f"--model {pinned}: give a hub name and its commit, as NAME@ and 40 hexadecimal digits.")
        said = "is there" if not fetch(found[1], found[2], directory) else "downloaded"
        console.print(f"{escape(pinned)} {said}: {escape(str(directory))}", soft_wrap=True, highlight=False)


def fetch(name: str, revision: str, directory: Path) -> bool:
    """Whether anything had to be downloaded. Raises SetupError if the hub or the disk fails, or the directory is taken.

    Another directory takes the download and is renamed at the end, so that a half one is never taken for a model.
    """
    if (directory / MARKER).is_file():
        return False
    _check_free(directory)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    partial = directory.with_name(f"{directory.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        snapshot_download(name, revision=revision, local_dir=partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's own notes on a download that is over
        (partial / MARKER).write_text(f"{name}@{revision}\n", encoding="utf-8")
        partial.rename(directory)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise SetupError(
            f"The model {name} could not be downloaded ({type(error).__name__}): check the name, the commit and the "
            "network. What has been downloaded is kept, and the next attempt goes on from there."
        ) from error
    except OSError as error:
        raise SetupError(f"The model {name} cannot be written to {directory}: {error.strerror or error}.") from error
    return True


def _check_free(directory: Path) -> None:
    """What is there is not ours to remove. Raises SetupError."""
    try:
        is_taken = directory.is_dir() and any(directory.iterdir())
    except OSError as error:
        raise SetupError(f"{directory} cannot be read: {error.strerror}.") from error
    if is_taken:
        raise SetupError(
            f"{directory} is not empty, and no model that this command has downloaded whole: give another directory."
        )
