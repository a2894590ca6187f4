"""One run a collection: a lease with a token, renewed while its run lives and taken over when it no longer does."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import Update, delete, select, update
from sqlalchemy.engine import Connection, Row

from ingest.ledger.store import Store
from ingest.ledger.tables import leases
from serve_app.core.errors import SetupError

RENEWALS_PER_TTL = 3
ATTEMPTS = 3  # the holder may let go between being refused and asking who holds


class Lease:
    """The right to write one collection, for as long as `check` raises nothing. Made by `Ledger.lease`."""

    def __init__(self, store: Store, collection: str, ttl_s: float) -> None:
        self.collection = collection
        self.token = uuid.uuid4().hex
        self._store = store
        self._ttl_s = ttl_s
        self._stop = threading.Event()
        self._renewer = threading.Thread(target=self._keep, name=f"lease-{self.token[:8]}", daemon=True)
        self._renewed_at = 0.0  # by the monotonic clock
        self._is_stolen = False

    def take(self) -> None:
        """Raises SetupError that says who holds the collection, if another run does."""
        for _ in range(ATTEMPTS):
            if self._insert():
                self._renewer.start()
                return
            with self._store.transaction() as connection:
                holder = connection.execute(select(leases).where(leases.c.collection == self.collection)).one_or_none()
            if holder is not None:
                raise SetupError(_held(holder))
        raise SetupError(f"Other runs keep taking the collection `{self.collection}`; run again when they are done.")

    def check(self) -> None:
        """Raises SetupError once another run has taken the collection, or renewing has failed for the whole term."""
        if self._is_stolen:
            raise SetupError(_lost(self.collection))
        if time.monotonic() - self._renewed_at > self._ttl_s:
            raise SetupError(
                f"This run could not renew its lease of the collection `{self.collection}` for {self._ttl_s:g} s: "
                f"the ledger {self._store.place} did not answer in time. Run again; what is committed is kept."
            )

    def fence(self, connection: Connection) -> None:
        """First statement of a transaction that may only happen while the lease is this run's.

        It writes, so that the row stays locked until the transaction ends: nobody takes the lease meanwhile.
        """
        self.check()
        kept = connection.execute(self._mine().values(token=self.token))
        if kept.rowcount != 1:
            self._is_stolen = True
            raise SetupError(_lost(self.collection))

    def release(self) -> None:
        self._stop.set()
        self._renewer.join(timeout=self._ttl_s / RENEWALS_PER_TTL)
        # Where this fails the lease runs out by itself, and what ended the run must not be hidden.
        with suppress(SetupError), self._store.transaction() as connection:
            connection.execute(delete(leases).where(leases.c.token == self.token))

    def _insert(self) -> bool:
        asked_at = time.monotonic()
        now = self._store.now()
        row = {
            "token": self.token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": now,
            "expires": now + self._ttl_s,
        }
        statement = self._store.insert(leases).values(collection=self.collection, **row)
        upsert = statement.on_conflict_do_update(
            index_elements=[leases.c.collection], set_=row, where=leases.c.expires <= now
        )
        with self._store.transaction() as connection:
            is_taken = connection.execute(upsert.returning(leases.c.token)).one_or_none() is not None
        self._renewed_at = asked_at
        return is_taken

    def _keep(self) -> None:
        while not self._stop.wait(self._ttl_s / RENEWALS_PER_TTL):
            asked_at = time.monotonic()
            try:
                with self._store.transaction() as connection:
                    renewed = connection.execute(self._mine().values(expires=self._store.now() + self._ttl_s))
            except SetupError:
                continue  # `check` counts the time since it last worked
            if renewed.rowcount != 1:
                self._is_stolen = True
                return
            self._renewed_at = asked_at

    def _mine(self) -> Update:
        return update(leases).where(leases.c.collection == self.collection, leases.c.token == self.token)


def _held(holder: Row[tuple[str, str, str, int, float, float]]) -> str:
    return (
        f"Another run is writing the collection `{holder.collection}`: host {holder.host}, process {holder.pid}, "
        f"since {_clock(holder.since)}. Wait until it ends; if it has died, the collection is free after "
        f"{_clock(holder.expires)}."
    )


def _lost(collection: str) -> str:
    return (
        f"This run no longer holds the collection `{collection}`: it was not heard of for too long, and another run "
        "has taken over. Nothing of it is lost; let the other run finish."
    )


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
