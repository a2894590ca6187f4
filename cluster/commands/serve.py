"""`embedctl serve`: a cluster on this machine, for as long as the command runs."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands.options import ConfigOption
from cluster.config import ClusterConfig, load_config

FILE_EVERY_S = 1.0
console = Console()


def serve(
    config: ConfigOption = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Checkpoint directory or hub name.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 0,
) -> None:
    """Start a cluster on this machine and keep it up until Ctrl-C.

    Example: `embedctl serve --model Qwen/Qwen3-Embedding-0.6B`, then
    `curl localhost:8000/v1/embeddings -d '{"model": "qwen3-embedding-0.6b", "input": "hello"}'`
    """
    from cluster.running.local import local_cluster, problem, ray_address, run_application
    from cluster.running.patience import Patience
    from cluster.running.watch import ConfigWatch, follow

    def load() -> ClusterConfig:
        return _serve_config(config, model, host, port)

    settings = load()
    watch = ConfigWatch(config, settings, load) if config is not None else None
    started = time.monotonic()
    with local_cluster(settings, lambda text: console.print(f"[dim]{escape(text)} …[/dim]")):
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):  # only now: starting Ray sets handlers of its own
            signal.signal(number, lambda *_: stop.set())
        names = ", ".join(m.served_name for m in settings.models)
        console.print(
            f"[green]Ready[/green] in {time.monotonic() - started:.0f} s: {settings.http.endpoint}/v1  models: {names}"
        )
        console.print(
            f"[dim]Try {settings.http.endpoint}/docs. Ray's address, for `embedctl ingest`: {ray_address()}[/dim]",
            soft_wrap=True,  # on one line, for programs that start clusters
        )
        console.print("[dim]Ctrl-C stops the cluster.[/dim]")
        patience = Patience(problem, _say)
        while not stop.wait(FILE_EVERY_S):
            if watch is not None:
                follow(watch, run_application, _say)
            patience.look(time.monotonic())


def _say(line: str) -> None:
    console.print(escape(line), soft_wrap=True, highlight=False)


def _serve_config(path: Path | None, model: str, host: str, port: int) -> ClusterConfig:
    config = load_config(path, model)
    http = config.http.model_copy(update={**({"host": host} if host else {}), **({"port": port} if port else {})})
    return config.model_copy(update={"http": http})
