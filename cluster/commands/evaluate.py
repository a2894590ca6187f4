"""`embedctl eval`: how well a collection answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cluster.commands.options import ConfigOption, EndpointOption, KeyOption, SinkOption
from cluster.config import load_config
from serve_app.core.errors import SetupError

if TYPE_CHECKING:
    from ingest.evaluate.run import Mode


def evaluate(
    collection: Annotated[str, typer.Option("--collection", help="Collection, or alias of one.")] = "documents",
    questions: Annotated[
        Path | None,
        typer.Option(help='Lines of {"question", "answers": [{"source_file", "page", "section" or "chunk_id"}]}.'),
    ] = None,
    dims: Annotated[str, typer.Option(help="Widths, such as 1024,256; default: the stored one and its halves.")] = "",
    modes: Annotated[str, typer.Option(help="Of dense,index,bm25,hybrid; default: what the store can do.")] = "",
    k: Annotated[str, typer.Option("--k", help="Cutoffs of recall.")] = "1,5,10",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most questions; a seeded sample of more.")] = 200,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, questions.jsonl and a plot.")] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What the questions are after, for models that take one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and of the intervals.")] = 0,
    config: ConfigOption = None,
    sink: SinkOption = "",
    endpoint: EndpointOption = "",
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Measure recall, MRR and nDCG of a collection, at several vector widths and for words and meaning together.

    Without --questions, the headings of the stored documents are the questions, and the chunks under them the answers.
    """
    from cluster.environment import secret_in
    from ingest.embedding.base import HttpAddress
    from ingest.evaluate.report import save, show
    from ingest.evaluate.run import Plan
    from ingest.evaluate.run import evaluate as measure
    from ingest.sinks.registry import open_sink

    settings = load_config(config)
    plan = Plan(
        collection=collection,
        questions=questions,
        widths=_numbers("--dims", dims) or None,
        modes=_modes(modes) or None,
        cutoffs=_numbers("--k", k or "10"),
        limit=limit,
        instruction=instruction,
        seed=seed,
    )
    address = HttpAddress(endpoint or settings.http.endpoint, secret_in(key_env))
    with open_sink(sink or settings.sink, create=False) as (store, _):
        evaluation = measure(store, address, plan)
    console = Console()
    show(console, evaluation)
    if out is not None:
        for path in save(out, evaluation):
            console.print(f"Wrote {escape(str(path))}", soft_wrap=True)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """Raises SetupError for anything but whole numbers from 1."""
    words = _words(text)
    if not all(word.isascii() and word.isdigit() and 0 < int(word) < 2**31 for word in words):
        raise SetupError(f"{option} takes whole numbers from 1, joined by commas, such as 1,5,10.")
    return tuple(sorted({int(word) for word in words}))


def _modes(text: str) -> tuple[Mode, ...]:
    from ingest.evaluate.run import MODES

    known: dict[str, Mode] = {str(mode): mode for mode in MODES}
    words = _words(text)
    unknown = [word for word in words if word not in known]
    if unknown:
        raise SetupError(f"--modes: there is no `{unknown[0]}`; the modes are {', '.join(known)}.")
    return tuple(known[word] for word in dict.fromkeys(words))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
