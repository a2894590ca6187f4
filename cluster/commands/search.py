"""`embedctl search`: a question to a collection."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from cluster.commands.options import ConfigOption, EndpointOption, KeyOption, SinkOption
from cluster.commands.show import print_hits
from cluster.config import load_config
from cluster.environment import secret_in

console = Console()


def search(
    text: Annotated[str, typer.Argument(help="The question.")],
    collection: Annotated[str, typer.Option("--collection", help="Collection to search.")] = "documents",
    config: ConfigOption = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Served name; default: the one that the collection was made for.")
    ] = "",
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
    from ingest import search as searching
    from ingest.embedding.http import sendable

    settings = load_config(config)
    text = sendable(text)  # bytes that are no text come as halves of characters, which nothing can send or print
    where = searching.Endpoint(endpoint or settings.http.endpoint, secret_in(key_env))
    question = searching.Question(text, model, instruction, settings.ingest.dimensions)
    query = searching.make_query(text, limit, hybrid, filter_text, tenant)
    hits = searching.search(sink or settings.sink, collection, where, question, query)
    if as_json:
        for hit in hits:
            sys.stdout.write(json.dumps(asdict(hit), ensure_ascii=False) + "\n")
    else:
        print_hits(console, text, hits)
