"""`embedctl`: the command line of the whole product. Thin: it parses, calls, prints, and chooses the exit code."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cluster import (
    collections,
    dlq,
    drain,
    evaluate_cli,
    ingest_cli,
    keys,
    lifecycle_cli,
    monitor_cli,
    plan_cli,
    render_cli,
    weights,
)
from cluster.config import ClusterConfig, ConfigError, load_config
from cluster.options import ConfigOption
from serve_app.core.errors import EmbedError, SetupError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=__doc__,
)
app.command()(ingest_cli.ingest)
app.command()(plan_cli.plan)
for lifecycle_command in (lifecycle_cli.deploy, lifecycle_cli.status, lifecycle_cli.down, lifecycle_cli.env):
    app.command()(lifecycle_command)
app.command("eval")(evaluate_cli.evaluate)
app.command()(monitor_cli.monitor)
app.add_typer(render_cli.commands, name="render")
app.command()(weights.weights)
app.command()(drain.drain)
dlq.commands.command()(ingest_cli.retry)
for name, commands in (("keys", keys.commands), ("dlq", dlq.commands), ("collections", collections.commands)):
    app.add_typer(commands, name=name)
FILE_EVERY_S = 1.0
console = Console()
problems = Console(stderr=True)

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Checkpoint directory or hub name.")]
ServedOption = Annotated[str, typer.Option("--model", "-m", help="Served name; default: the cluster's first model.")]
CollectionOption = Annotated[str, typer.Option("--collection", help="Collection to write or search.")]
SinkOption = Annotated[
    str, typer.Option("--sink", help="milvus-lite:DIRECTORY, http://HOST:19530 (Milvus) or postgresql://… (pgvector).")
]
KeyOption = Annotated[str, typer.Option(help="Environment variable that holds the API key, where one is needed.")]
EndpointOption = Annotated[str, typer.Option("--endpoint", help="The cluster's HTTP address.")]


@app.command()
def serve(
    config: ConfigOption = None,
    model: ModelOption = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 0,
) -> None:
    """Start a cluster on this machine and keep it up until Ctrl-C.

    Example: `embedctl serve --model Qwen/Qwen3-Embedding-0.6B`, then
    `curl localhost:8000/v1/embeddings -d '{"model": "qwen3-embedding-0.6b", "input": "hello"}'`
    """
    from cluster.local import local_cluster, problem, ray_address, run_application
    from cluster.patience import Patience
    from cluster.watch import ConfigWatch, follow

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


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="The question.")],
    collection: CollectionOption = "documents",
    config: ConfigOption = None,
    model: ServedOption = "",
    sink: SinkOption = "",
    endpoint: EndpointOption = "",
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Exact words (BM25) count beside meaning.")] = False,
    filter_text: Annotated[str, typer.Option("--filter", help="For example: source_file = 'contract.pdf'")] = "",
    instruction: Annotated[
        str | None, typer.Option(help="What the question is after, for models that take one.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many hits.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    tenant: Annotated[str, typer.Option(help="See only what was ingested for this one.")] = "",
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Ask a collection a question; every answer says where it stands.

    Example: `embedctl search "How long is the warranty?" --hybrid --filter "source_file = 'contract.pdf'"`
    """
    from cluster.environment import secret_in
    from cluster.show import print_hits
    from ingest import search as searching

    settings = load_config(config)
    where = searching.Endpoint(endpoint or settings.http.endpoint, secret_in(key_env))
    vector, used = searching.embed_query(where, model, text, instruction, settings.ingest.dimensions)
    query = replace(searching.make_query(text, vector, limit, hybrid, filter_text), tenant=tenant or None)
    hits = searching.search(sink or settings.sink, collection, query, used)
    if as_json:
        for hit in hits:
            sys.stdout.write(json.dumps(asdict(hit), ensure_ascii=False) + "\n")
    else:
        print_hits(console, text, hits)


@app.command()
def verify(
    config: ConfigOption = None,
    model: ServedOption = "",
    endpoint: EndpointOption = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="The model's directory; default: as the configuration says.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the reference for `models[].golden`, if all vectors agree.")
    ] = None,
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Compare the cluster's vectors with those of transformers in float32 on this machine.

    Exit code 1 if one of them differs. Takes four bytes of memory for each parameter of the model.
    """
    from cluster import verify as verifying
    from cluster.environment import secret_in

    settings = load_config(config)
    where = verifying.Endpoint(endpoint or settings.http.endpoint, secret_in(key_env))
    served = where.served_model(model)
    model_settings, directory = verifying.checkpoint_of(settings, served, checkpoint)
    reference, values = verifying.verify(where, served, model_settings, directory)
    verifying.show(console, reference, values)
    if not verifying.agree(values):
        raise SetupError(
            f"The vectors of {served} differ from the reference: a cosine is below {verifying.MIN_COSINE}. "
            "Are the checkpoints the same?"
        )
    if save is not None:
        from serve_app.model.golden import write_golden

        try:
            write_golden(save, served, reference.ids, reference.vectors)
        except OSError as error:
            raise SetupError(f"The reference cannot be written to {save}: {error.strerror}.") from error
        console.print(f"Wrote {escape(str(save))}: set it as the model's `golden` to check every replica at its start.")


def _say(line: str) -> None:
    console.print(escape(line), soft_wrap=True, highlight=False)


def _serve_config(path: Path | None, model: str, host: str, port: int) -> ClusterConfig:
    config = load_config(path, model)
    http = config.http.model_copy(update={**({"host": host} if host else {}), **({"port": port} if port else {})})
    return config.model_copy(update={"http": http})


def main() -> None:
    """Entry point: the product's own errors are one sentence and exit code 1 (2: the configuration), no traceback."""
    try:
        app()
    except EmbedError as error:
        problems.print(f"[red]embedctl:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
