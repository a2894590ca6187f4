"""Committed sources in the database: those whose chunks are all stored in one physical collection."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import Connection

from ingest.ledger.records import SourceState
from ingest.ledger.store import Store
from ingest.ledger.tables import source_id, sources

PAGE = 5000


def write(store: Store, connection: Connection, physical: str, state: SourceState) -> None:
    row = {
        "source": state.source,
        "version": state.version,
        "root": state.root,
        "size": state.size,
        "modified_ns": state.modified_ns,
        "chunks": state.chunks,
        "run_id": state.run_id,
    }
    statement = store.insert(sources).values(physical=physical, source_id=source_id(state.source), **row)
    keys = [sources.c.physical, sources.c.source_id]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=row))


def remove(connection: Connection, physical: str, gone: Sequence[str]) -> None:
    ids = [source_id(source) for source in gone]
    connection.execute(delete(sources).where(sources.c.physical == physical, sources.c.source_id.in_(ids)))


def doubt(connection: Connection, physical: str) -> None:
    """Every source of the collection is to be looked at again; none counts any chunks until then."""
    connection.execute(update(sources).where(sources.c.physical == physical).values(version="", chunks=0))


def read(store: Store, physical: str) -> dict[str, SourceState]:
    """Everything committed to the collection, by source; read a page at a time."""
    wanted = [sources.c[name] for name in ("source_id", *SourceState.__dataclass_fields__)]
    statement = select(*wanted).where(sources.c.physical == physical).order_by(sources.c.source_id).limit(PAGE)
    found: dict[str, SourceState] = {}
    shared: dict[str, str] = {}
    one = shared.setdefault  # a million sources have few roots and runs: keep one string of each
    after = ""
    while True:
        with store.transaction() as connection:
            page = connection.execute(statement.where(sources.c.source_id > after)).all()
        for _, source, version, root, size, modified_ns, chunks, run_id in page:
            found[source] = SourceState(
                source, version, one(root, root), size, modified_ns, chunks, one(run_id, run_id)
            )
        if len(page) < PAGE:
            return found
        after = page[-1].source_id


def totals(store: Store, physical: str) -> tuple[int, int]:
    statement = select(func.count(), func.coalesce(func.sum(sources.c.chunks), 0))
    with store.transaction() as connection:
        row = connection.execute(statement.where(sources.c.physical == physical)).one()
    return int(row[0]), int(row[1])
