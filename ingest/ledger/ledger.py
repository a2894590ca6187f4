"""The ledger: which sources are stored in which collection, which could not be, and who is writing right now."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Self

from sqlalchemy import delete, select, update

from ingest.ledger import committed, dead_letters, tables
from ingest.ledger.lease import Lease
from ingest.ledger.records import CollectionStage, CollectionState, DeadLetter, Run, SourceState
from ingest.ledger.schema import prepare
from ingest.ledger.store import Store, open_store
from ingest.ledger.tables import collections, runs

BATCH = 500  # sources named in one statement


def open_ledger(uri: str, create: bool = True) -> Ledger:
    """`sqlite:PATH` (made if it is missing, unless `create` is False) or `postgresql://USER@HOST/DATABASE`.

    A context manager. Raises SetupError, as every call on it does, in one sentence that names the ledger, what is
    wrong with it (not there, read-only, full, damaged, of a newer release) and the fix.
    """
    store = open_store(uri, create)
    try:
        prepare(store)
    except BaseException:
        store.close()
        raise
    return Ledger(store)


class Ledger:
    """May be used from several threads. What is written outlives a crash of the process when the call returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    # one run a collection

    @contextmanager
    def lease(self, collection: str, ttl_s: float) -> Iterator[Lease]:
        """Hold the collection: no other run gets it before this one lets go, or is not heard of for `ttl_s` seconds.

        Raises SetupError that says who holds it.
        """
        lease = Lease(self._store, collection, ttl_s)
        lease.take()
        try:
            yield lease
        finally:
            lease.release()

    def start_run(self, collection: str, physical: str, fingerprint_json: str) -> str:
        """The new run's id, 32 hex characters. An earlier run of the collection that never ended is `interrupted`."""
        run_id = uuid.uuid4().hex
        unfinished = update(runs).where(runs.c.collection == collection, runs.c.finished.is_(None))
        with self._store.transaction() as connection:
            connection.execute(unfinished.where(runs.c.status == "running").values(status="interrupted"))
            connection.execute(
                runs.insert().values(
                    run_id=run_id,
                    collection=collection,
                    physical=physical,
                    fingerprint=fingerprint_json,
                    status="running",
                    started=time.time(),
                    counts={},
                )
            )
        return run_id

    def finish_run(self, run_id: str, status: str, counts: Mapping[str, int]) -> None:
        statement = update(runs).where(runs.c.run_id == run_id)
        with self._store.transaction() as connection:
            connection.execute(statement.values(status=status, finished=time.time(), counts=dict(counts)))

    def runs(self, collection: str, limit: int = 20) -> list[Run]:
        """Newest first."""
        statement = select(runs).where(runs.c.collection == collection).order_by(runs.c.started.desc()).limit(limit)
        with self._store.transaction() as connection:
            return [Run(**row) for row in connection.execute(statement).mappings()]

    def last_run(self, physical: str) -> Run | None:
        """The newest run that wrote this physical collection."""
        statement = select(runs).where(runs.c.physical == physical).order_by(runs.c.started.desc()).limit(1)
        with self._store.transaction() as connection:
            row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else Run(**row)

    # what is stored

    def sources(self, physical: str) -> dict[str, SourceState]:
        """Everything committed to the collection, by source."""
        return committed.read(self._store, physical)

    def totals(self, physical: str) -> tuple[int, int]:
        """How many sources are committed to the collection, and how many chunks they have."""
        return committed.totals(self._store, physical)

    def commit(self, lease: Lease, physical: str, state: SourceState, letter: DeadLetter | None = None) -> None:
        """In one step: the source is stored as `state` says, and its dead letter is `letter`, or gone.

        A letter beside a commit is for a source of which some chunks could not be stored. SetupError, and nothing
        is written, if the lease is lost.
        """
        with self._store.transaction() as connection:
            lease.fence(connection)
            committed.write(self._store, connection, physical, state)
            if letter is None:
                dead_letters.remove(connection, lease.collection, [state.source])
            else:
                dead_letters.write(self._store, connection, lease.collection, physical, letter)

    def doubt(self, physical: str) -> None:
        """The collection may lack some of what is committed: every source is to be looked at again."""
        with self._store.transaction() as connection:
            committed.doubt(connection, physical)

    def forget(self, lease: Lease, physical: str, gone: Iterable[str]) -> None:
        """The sources are no longer there: neither is what was committed of them, nor their dead letters.

        SetupError if the lease is lost.
        """
        for batch in _batches(gone):
            with self._store.transaction() as connection:
                lease.fence(connection)
                committed.remove(connection, physical, batch)
                dead_letters.remove(connection, lease.collection, batch)

    # collections

    def remember_collection(self, alias: str, physical: str, fingerprint_json: str, state: CollectionStage) -> None:
        """Making one collection of an alias live makes the one that was live until then old, in the same step."""
        row = {"alias": alias, "fingerprint": fingerprint_json, "state": state}
        statement = self._store.insert(collections).values(physical=physical, created=time.time(), **row)
        others = update(collections).where(collections.c.alias == alias, collections.c.physical != physical)
        with self._store.transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=[collections.c.physical], set_=row))
            if state == "live":
                connection.execute(others.where(collections.c.state == "live").values(state="old"))

    def collections(self, alias: str | None = None) -> list[CollectionState]:
        """Of one alias or of all, oldest first."""
        statement = select(collections).order_by(collections.c.alias, collections.c.created)
        if alias is not None:
            statement = statement.where(collections.c.alias == alias)
        with self._store.transaction() as connection:
            return [CollectionState(**row) for row in connection.execute(statement).mappings()]

    def forget_collection(self, physical: str) -> None:
        """Everything about it but its runs: its sources, its dead letters, and that it existed."""
        with self._store.transaction() as connection:
            for table in (tables.sources, tables.dead_letters, tables.collections):
                connection.execute(delete(table).where(table.c.physical == physical))

    # dead letters

    def bury(self, lease: Lease, physical: str, letter: DeadLetter) -> None:
        """Remember that the source could not be stored; its letter, if it has one, is replaced and counts one more.

        SetupError if the lease is lost.
        """
        with self._store.transaction() as connection:
            lease.fence(connection)
            dead_letters.write(self._store, connection, lease.collection, physical, letter)

    def letters(self, collection: str | None = None, reason: str | None = None) -> Iterator[DeadLetter]:
        """Of one collection or of all, read a page at a time while it is iterated."""
        conditions = () if reason is None else (tables.dead_letters.c.reason == reason,)
        for name in self._collections_with_letters() if collection is None else [collection]:
            yield from dead_letters.read(self._store, name, *conditions)

    def known_dead(self, collection: str, physical: str) -> dict[str, str]:
        """Version by source of what failed for good when this `physical` collection was written.

        The same version is not worth another try, until a new fingerprint (and so a new collection) or a person
        asks for it.
        """
        return dead_letters.known_dead(self._store, collection, physical)

    def clear(self, collection: str, sources: Iterable[str]) -> int:
        """Forget the letters of these sources, so that the next run tries them again. Returns how many there were."""
        cleared = 0
        for batch in _batches(sources):
            with self._store.transaction() as connection:
                cleared += dead_letters.remove(connection, collection, batch)
        return cleared

    def _collections_with_letters(self) -> list[str]:
        names = tables.dead_letters.c.collection
        statement = select(names).distinct().order_by(names)
        with self._store.transaction() as connection:
            return list(connection.execute(statement).scalars())


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, BATCH)):
        yield batch
