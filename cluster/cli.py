"""`embedctl`: the command line of the whole product. Which commands there are, and their exit codes."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands import (
    collections,
    dlq,
    drain,
    evaluate,
    ingest,
    keys,
    lifecycle,
    monitor,
    plan,
    render,
    reveal,
    search,
    serve,
    verify,
    weights,
)
from cluster.config import ConfigError
from serve_app.core.errors import EmbedError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="A cluster that turns texts into vectors, and fills vector databases with documents.",
)
app.command()(serve.serve)
app.command()(ingest.ingest)
app.command()(search.search)
app.command()(reveal.reveal)
app.command()(plan.plan)
app.command()(lifecycle.deploy)
app.command()(lifecycle.status)
app.command()(lifecycle.down)
app.command()(lifecycle.env)
app.command()(verify.verify)
app.command("eval")(evaluate.evaluate)
app.command()(monitor.monitor)
app.command()(weights.weights)
app.command()(drain.drain)
dlq.commands.command()(ingest.retry)  # needs all that ingestion needs
app.add_typer(keys.commands, name="keys")
app.add_typer(dlq.commands, name="dlq")
app.add_typer(collections.commands, name="collections")
app.add_typer(render.commands, name="render")
problems = Console(stderr=True)


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
