"""The database under the ledger: opening it, transactions on it, and its troubles as one sentence each."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, ColumnElement, Double, Engine, Table, cast, create_engine, event, extract, func, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from ingest.ledger.troubles import refusal
from serve_app.core.errors import SetupError

SQLITE, POSTGRES = "sqlite:", ("postgresql://", "postgres://")
BUSY_S = 30.0  # longest wait for another process's transaction
CONNECT_S = 10
SUPPORTED = "sqlite:PATH (a file on this machine's own disk) or postgresql://USER@HOST/DATABASE"


class Store:
    """Connections to one database. `place` is what messages call it: never with a password."""

    def __init__(self, engine: Engine, place: str) -> None:
        self.engine = engine
        self.place = place
        self._is_postgres = engine.dialect.name == "postgresql"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of the block or nothing. On SQLite, write before you read: only then does it wait for other writers.

        Raises SetupError for whatever the database answers.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise SetupError(refusal(error, self.place)) from None  # the driver's words may quote values

    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the one clock that all runs on this ledger share."""
        if self._is_postgres:
            return cast(extract("epoch", func.clock_timestamp()), Double)
        return literal(time.time())

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that knows ON CONFLICT, which both databases spell the same."""
        return postgresql.insert(table) if self._is_postgres else sqlite.insert(table)

    def serialize_setup(self, connection: Connection) -> None:
        """Hold off other processes that make the same tables; PostgreSQL's IF NOT EXISTS alone would not."""
        if self._is_postgres:
            connection.execute(func.pg_advisory_xact_lock(int.from_bytes(b"ledger")).select())

    def close(self) -> None:
        self.engine.dispose()


def open_store(uri: str, create: bool) -> Store:
    """Raises SetupError for another scheme, a missing driver or folder; the connection itself is made on first use."""
    if uri.startswith(POSTGRES):
        return _postgres(uri)
    if uri.startswith(SQLITE) and uri != SQLITE and not uri.startswith(f"{SQLITE}//"):
        return _sqlite(Path(uri.removeprefix(SQLITE)).expanduser(), create)
    raise SetupError(f"The ledger's address is not one of the supported: {SUPPORTED}.")


def _sqlite(path: Path, create: bool) -> Store:
    place = f"file {path}"
    if not create and not path.exists():
        raise SetupError(f"There is no ledger {place}, so nothing has been ingested with it; set `ingest.ledger`.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # SQLite's other files get its mode
    except OSError as error:
        raise SetupError(
            f"The ledger {place} cannot be opened for writing: {error.strerror}. "
            "Choose another with `ingest.ledger`, or make its folder writable."
        ) from None
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": BUSY_S}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    return Store(engine, place)


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Two processes that turn to WAL at once: SQLite refuses one of them without waiting.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    # In WAL mode a crash of the process loses nothing so, and a power cut at most the last commits: their sources
    # are looked at once more, and what is stored of them is found there.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _postgres(uri: str) -> Store:
    try:
        url = make_url(uri).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):  # a port that is no number
        raise SetupError(f"The ledger's address cannot be read; write {POSTGRES[0]}USER@HOST/DATABASE.") from None
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_S)})
    try:
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ImportError:
        raise SetupError("A ledger in PostgreSQL needs psycopg: pip install 'embed-cluster[postgres]'.") from None
    host = url.host or url.query.get("host") or "localhost"
    return Store(engine, f"database {url.database or 'postgres'} at {host}")
