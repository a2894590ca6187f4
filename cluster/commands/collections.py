"""`embedctl collections`: what stands behind each name that is searched, and getting rid of what no longer does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from cluster.commands.dlq import LedgerOption, places
from cluster.commands.options import ConfigOption, SinkOption
from serve_app.core.errors import SetupError

if TYPE_CHECKING:  # heavy, and `embedctl --help` does without
    from ingest.ledger.ledger import Ledger
    from ingest.ledger.records import CollectionState
    from ingest.sinks.base import VectorSink

commands = typer.Typer(no_args_is_help=True, help="List the collections of a store, and drop old ones.")
console = Console()


@commands.command("list")
def list_(config: ConfigOption = None, sink: SinkOption = "", ledger: LedgerOption = "") -> None:
    """Show every collection: its alias, whether that points to it, what it holds, and when it was last written.

    `chunks` are those in the store; `differs` says in what an old or a half-built collection is made otherwise than
    the live one of its alias.
    """
    from ingest.ledger.ledger import open_ledger
    from ingest.sinks.registry import open_sink

    book, address = places(config, ledger, sink)
    physical = Column("collection", no_wrap=True)  # what `drop` wants, whole
    table = Table("alias", physical, "state", "chunks", "sources", "last run", "differs")
    with open_ledger(book, create=False) as opened, open_sink(address, create=False) as (store, _):
        known = opened.collections()
        for collection in known:
            table.add_row(*map(escape, _line(collection, known, opened, store)))
        for name in sorted(set(store.names()) - {collection.physical for collection in known}):
            table.add_row("", escape(name), "not in the ledger", f"{store.count(name):,}", "", "", "")
    console.print(table)


@commands.command()
def drop(
    name: Annotated[str, typer.Argument(help="The collection itself, as `collections list` shows it: no alias.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Drop it even if an alias points to it.")] = False,
    config: ConfigOption = None,
    sink: SinkOption = "",
    ledger: LedgerOption = "",
) -> None:
    """Remove a collection from the store, and what the ledger knows of it.

    Example: `embedctl collections drop handbook_v1`
    """
    from ingest.ledger.ledger import open_ledger
    from ingest.sinks.registry import open_sink

    book, address = places(config, ledger, sink)
    with open_ledger(book, create=False) as opened, open_sink(address, create=False) as (store, _):
        alias = droppable(opened, store, name, live)
        if not yes:
            typer.confirm(
                f"Drop {name} with its {store.count(name) if name in store.names() else 0:,} chunks?", abort=True
            )
        remove(opened, store, alias, name, live)
    console.print(f"Dropped {escape(name)}.", highlight=False)


def droppable(ledger: Ledger, sink: VectorSink, name: str, live: bool) -> str:
    """The alias the collection was made for; the name itself if the ledger does not know it.

    SetupError if there is no such collection, if the name is an alias, or if it is searched and `live` is False.
    """
    target = sink.target_of(name)
    if target is not None:
        raise SetupError(f"`{name}` is an alias; the collection it stands for is `{target}`.")
    state = next((known for known in ledger.collections() if known.physical == name), None)
    if state is None:
        if name not in sink.names():
            raise SetupError(f"There is no collection `{name}`; `embedctl collections list` shows what there is.")
        return name
    if sink.target_of(state.alias) == name and not live:
        raise SetupError(f"The alias `{state.alias}` points to `{name}`: searches need it. To drop it, give --live.")
    return state.alias


def remove(ledger: Ledger, sink: VectorSink, alias: str, name: str, live: bool = False) -> None:
    """Drop it in the ledger and in the store, while no run writes to its alias; SetupError if one does.

    The ledger goes first. Cut short in between, the store has a collection too many, which can be dropped again; the
    other way round, the ledger would call sources stored that are not.
    """
    with ledger.lease(alias, ttl_s=60.0) as lease:
        droppable(ledger, sink, name, live)  # a run may have taken searches over to it since it was asked for
        ledger.forget_collection(name)
        lease.check()
        sink.drop(name)


def _line(collection: CollectionState, known: list[CollectionState], ledger: Ledger, sink: VectorSink) -> list[str]:
    live = next((other for other in known if other.alias == collection.alias and other.state == "live"), collection)
    run = ledger.last_run(collection.physical)
    return [
        collection.alias,
        collection.physical,
        _state(collection, sink),
        f"{sink.count(collection.physical):,}" if collection.physical in sink.names() else "missing",
        f"{ledger.totals(collection.physical)[0]:,}",
        "never" if run is None else f"{datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M} {run.status}",
        _difference(collection, live),
    ]


def _state(collection: CollectionState, sink: VectorSink) -> str:
    target = sink.target_of(collection.alias)
    if (collection.state == "live") == (target == collection.physical):
        return collection.state
    return f"{collection.state}, but the alias points to {target or 'nothing'}"


def _difference(collection: CollectionState, live: CollectionState) -> str:
    from ingest.fingerprint import Fingerprint, differences

    ours, theirs = (Fingerprint.from_json(state.fingerprint).components for state in (collection, live))
    return " ".join(differences(theirs, ours))
