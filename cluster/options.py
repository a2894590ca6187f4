"""Command-line options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="cluster.yaml, where every key has a default; or preset:NAME, one of `embedctl plan --preset list`.",
    ),
]
