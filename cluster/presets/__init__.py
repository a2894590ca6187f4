"""Whole configurations for common machines, to start from: `--config preset:NAME`."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from serve_app.core.errors import SetupError

PREFIX = "preset:"
SUFFIX = ".yaml"


def preset_named_by(path: Path) -> str | None:
    """`fleet` of `preset:fleet`; None for the path of a file."""
    text = str(path)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def names() -> list[str]:
    return sorted(entry.name.removesuffix(SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(SUFFIX))


def read(name: str) -> str:
    """The preset's YAML. Raises SetupError with the nearest name if there is none."""
    known = names()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}."
        raise SetupError(f"There is no preset `{name}`; {hint}")
    return (files(__name__) / f"{name}{SUFFIX}").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """Its first comment."""
    return read(name).partition("\n")[0].lstrip("# ")
