"""`embedctl dlq`: the dead letters of ingestion, which is what could not be stored, and why."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from cluster.commands.options import ConfigOption, SinkOption
from serve_app.core.errors import SetupError

if TYPE_CHECKING:  # the ledger brings SQLAlchemy, which `embedctl --help` does without
    from ingest.ledger.ledger import Ledger
    from ingest.ledger.records import DeadLetter

commands = typer.Typer(no_args_is_help=True, help="List and clear dead letters: what could not be ingested, and why.")
console = Console()

LedgerOption = Annotated[str, typer.Option("--ledger", help="sqlite:PATH or postgresql://…; default: the store's own.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only these, for example `corrupt`.")]


@commands.command("list")
def list_(
    collection: Annotated[str | None, typer.Option("--collection", help="Of this collection; default: all.")] = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most letters to show; all are counted.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, all of them.")] = False,
    config: ConfigOption = None,
    sink: SinkOption = "",
    ledger: LedgerOption = "",
) -> None:
    """Show what could not be ingested. No letter holds any of a document's text.

    Example: `embedctl dlq list --collection handbook --reason needs_ocr`
    """
    with opened(config, ledger, sink) as book:
        found = book.letters(collection, reason)
        if as_json:
            for letter in found:
                sys.stdout.write(f"{json.dumps(asdict(letter))}\n")
            return
        counts: Counter[tuple[str, str]] = Counter()
        _show(list(islice(_counted(found, counts), limit)))
        counts.update((letter.stage, letter.reason) for letter in found)
    parts = [f"{number} {escape(reason)} ({stage})" for (stage, reason), number in counts.most_common()]
    console.print(f"{counts.total()} dead letters{': ' if parts else ''}{', '.join(parts)}.", highlight=False)


@commands.command()
def clear(
    collection: Annotated[str, typer.Option("--collection", help="Of this collection.")],
    sources: Annotated[list[str] | None, typer.Argument(help="Sources as `dlq list` shows them.")] = None,
    reason: ReasonOption = None,
    every: Annotated[bool, typer.Option("--all", help="All letters of the collection.")] = False,
    config: ConfigOption = None,
    sink: SinkOption = "",
    ledger: LedgerOption = "",
) -> None:
    """Forget dead letters; the next run tries those sources again.

    Example: `embedctl dlq clear --collection handbook --reason timeout`
    """
    if not (sources or reason or every):
        raise SetupError("Say which letters: name their sources, give --reason, or --all.")
    with opened(config, ledger, sink) as book:
        found = sources_to_retry(book, collection, reason, sources or ())
        cleared = book.clear(collection, [letter.source for letter in found])
    console.print(f"Cleared {cleared} dead letters of {escape(collection)}.", highlight=False)


def sources_to_retry(
    ledger: Ledger, collection: str, reason: str | None = None, sources: Sequence[str] = ()
) -> list[DeadLetter]:
    """The dead letters of the collection that are meant: all, those of one reason, or those of the named sources.

    A source may be named by its address or by its path as `dlq list` shows it. Raises SetupError where nothing, or
    one of the named, has no letter.
    """
    wanted = set(sources)
    found = [
        letter
        for letter in ledger.letters(collection, reason)
        if not wanted or letter.source in wanted or letter.source_file in wanted
    ]
    missing = wanted - {letter.source for letter in found} - {letter.source_file for letter in found}
    if missing or not found:
        what = f" for {', '.join(sorted(missing))}" if missing else ""
        why = f" with the reason {reason}" if reason else ""
        raise SetupError(
            f"The collection `{collection}` has no dead letter{what}{why}; `embedctl dlq list` shows what there is."
        )
    return found


def opened(config: Path | None, ledger: str, sink: str = "") -> Ledger:
    """The ledger that the options or the configuration name, or else the store's own. SetupError if there is none."""
    from ingest.ledger.ledger import open_ledger

    return open_ledger(places(config, ledger, sink)[0], create=False)


def places(config: Path | None, ledger: str, sink: str) -> tuple[str, str]:
    """Where the ledger is, and where the store: as the options say, or else the configuration."""
    from cluster.config import load_config
    from ingest.ledger.place import ledger_uri

    settings = load_config(config)
    store = sink or settings.sink
    return ledger_uri(ledger or settings.ingest.ledger, store), store


def _counted(letters: Iterator[DeadLetter], counts: Counter[tuple[str, str]]) -> Iterator[DeadLetter]:
    for letter in letters:
        counts[letter.stage, letter.reason] += 1
        yield letter


def _show(letters: Sequence[DeadLetter]) -> None:
    reason = Column("reason", no_wrap=True)  # what `--reason` wants, whole
    table = Table("collection", "source", "stage", reason, "message", "attempts", "last seen")
    for letter in letters:
        seen = f"{datetime.fromtimestamp(letter.last_seen, UTC):%Y-%m-%d %H:%M}"
        message = letter.message if letter.permanent else f"{letter.message} (tried again by the next run)"
        cells = [letter.collection, letter.source_file or letter.source, letter.stage, letter.reason, message]
        table.add_row(*map(_printable, cells), str(letter.attempts), seen)
    if letters:
        console.print(table)


def _printable(text: str) -> str:
    """File names may hold lone surrogates, which no terminal takes."""
    return escape(text.encode("utf-8", "backslashreplace").decode())
