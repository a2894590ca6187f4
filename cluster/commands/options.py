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
ServedOption = Annotated[str, typer.Option("--model", "-m", help="Served name; default: the cluster's first model.")]
SinkOption = Annotated[
    str,
    typer.Option(
        "--sink",
        help="milvus-lite:DIRECTORY, http://HOST:19530 (Milvus) or postgresql://… (pgvector); default: as configured.",
    ),
]
EndpointOption = Annotated[str, typer.Option("--endpoint", help="The cluster's HTTP address; default: as configured.")]
AddressOption = Annotated[str, typer.Option("--address", help="Ray's HOST:PORT; `auto` finds one on this machine.")]
KeyOption = Annotated[str, typer.Option(help="Environment variable that holds the API key, where one is needed.")]
