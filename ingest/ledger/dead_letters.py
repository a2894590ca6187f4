"""Dead letters in the database: one for each source of a collection of which something could not be stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.engine import Connection, Row

from ingest.ledger.records import DeadLetter
from ingest.ledger.store import Store
from ingest.ledger.tables import dead_letters, source_id

MAX_KEYS = 1000  # of the chunks one letter names: a corpus in one file may have any number of bad records
MAX_MESSAGE = 500  # characters
PAGE = 1000
Columns = dead_letters.c


def write(store: Store, connection: Connection, collection: str, physical: str, letter: DeadLetter) -> None:
    """Add the letter; one that the source has already is replaced, but for its age and the attempts counted so far."""
    if letter.collection != collection:
        raise ValueError(f"a letter of {letter.collection} under the lease of {collection}")
    now = time.time()
    row = {
        "physical": physical,
        "source": letter.source,
        "source_file": letter.source_file,
        "version": letter.version,
        "stage": letter.stage,
        "reason": letter.reason,
        "message": letter.message[:MAX_MESSAGE],
        "permanent": letter.permanent,
        "root": letter.root,
        "chunk_keys": list(letter.chunk_keys[:MAX_KEYS]),
        "last_seen": now,
    }
    statement = store.insert(dead_letters).values(
        collection=collection, source_id=source_id(letter.source), attempts=1, first_seen=now, **row
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[Columns.collection, Columns.source_id], set_={**row, "attempts": Columns.attempts + 1}
        )
    )


def remove(connection: Connection, collection: str, sources: Sequence[str]) -> int:
    """How many of the sources had a letter."""
    of_sources = Columns.source_id.in_([source_id(source) for source in sources])
    return connection.execute(delete(dead_letters).where(Columns.collection == collection, of_sources)).rowcount


def read(store: Store, collection: str, *conditions: ColumnElement[bool]) -> Iterator[DeadLetter]:
    """The letters of one collection, in no order that means anything, a page at a time: there may be any number."""
    statement = select(dead_letters).where(Columns.collection == collection, *conditions).order_by(Columns.source_id)
    after = ""
    while True:
        with store.transaction() as connection:
            page = connection.execute(statement.where(Columns.source_id > after).limit(PAGE)).all()
        yield from map(_letter, page)
        if len(page) < PAGE:
            return
        after = page[-1].source_id


def known_dead(store: Store, collection: str, physical: str) -> dict[str, str]:
    """Version by source of what failed for good under the fingerprint that `physical` stands for."""
    conditions = (Columns.physical == physical, Columns.permanent)
    return {letter.source: letter.version for letter in read(store, collection, *conditions)}


def _letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    return DeadLetter(
        collection=row.collection,
        source=row.source,
        source_file=row.source_file,
        version=row.version,
        stage=row.stage,
        reason=row.reason,
        message=row.message,
        permanent=row.permanent,
        root=row.root,
        chunk_keys=tuple(row.chunk_keys),
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
    )
