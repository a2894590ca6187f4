"""One connection to a PostgreSQL with pgvector, and its errors as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from ingest.sinks.collection_rules import missing
from serve_app.core.errors import SetupError

OLDEST_PGVECTOR = (0, 8)  # the first with iterative scans, without which filtered searches find too little
CONNECT_TIMEOUT_S = 10

# Whatever changes which collections and aliases there are takes this lock, so that such changes never cross.
_DDL_LOCK = 0x656D626564

PgConnection = psycopg.Connection[DictRow]


class PostgresConnection:
    """Opened again when it has broken. Threads may share it: their transactions run one after the other."""

    def __init__(self, uri: str, timeout_s: float) -> None:
        """`timeout_s` bounds every statement. SetupError if there is no usable pgvector."""
        self._uri = uri
        self._timeout_s = timeout_s
        self._lock = Lock()
        self.place = _place(uri)
        self._connection = self._open()

    @contextmanager
    def transaction(self, collection: str = "", timeout_s: float | None = None) -> Iterator[PgConnection]:
        """One transaction; `collection` is named if it turns out to be missing. `timeout_s` 0: no limit."""
        milliseconds = round(1000 * (self._timeout_s if timeout_s is None else timeout_s))
        with self._lock, self._errors(collection):
            if self._connection.closed:
                self._connection = self._open()
            with self._connection.transaction():
                self._connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(milliseconds),))
                yield self._connection

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> PgConnection:
        with self._errors():
            # Without prepared statements, which outlive the view they were made for when an alias moves.
            connection = psycopg.connect(
                self._uri,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_TIMEOUT_S,
                fallback_application_name="embed-cluster",
                row_factory=dict_row,
            )
            try:
                self._check_extension(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _check_extension(self, connection: PgConnection) -> None:
        if _extension(connection) is None:
            with connection.transaction():
                lock_definitions(connection)
                self._add_extension(connection)
        version = str(_extension(connection))
        if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST_PGVECTOR:
            raise SetupError(
                f"{self.place} has pgvector {version} and at least 0.8 is needed: install it and run "
                "ALTER EXTENSION vector UPDATE."
            )
        register_vector(connection)

    def _add_extension(self, connection: PgConnection) -> None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except errors.InsufficientPrivilege as error:
            raise SetupError(
                f"{self.place} has no pgvector in this database, and this user may not add it: have an administrator "
                "run CREATE EXTENSION vector there."
            ) from error
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise SetupError(
                f"{self.place} has no pgvector: install version 0.8 or newer on the server, then try again."
            ) from error

    @contextmanager
    def _errors(self, collection: str = "") -> Iterator[None]:
        try:
            yield
        except errors.UndefinedTable as error:
            raise missing(collection, self.place) from error
        except errors.InsufficientPrivilege as error:
            raise SetupError(f"{self.place} does not permit this user that: {error.diag.message_primary}.") from error
        except psycopg.Error as error:
            # Only the primary message: the details may quote what was stored.
            reason = error.diag.message_primary
            if reason is None:
                raise SetupError(f"{self.place} does not answer; check that it runs there, and the address.") from error
            raise SetupError(f"{self.place} cannot go on: {reason}.") from error


def lock_definitions(connection: PgConnection) -> None:
    """Until the end of the transaction no other job makes, drops or moves a collection or an alias."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))


def _extension(connection: PgConnection) -> str | None:
    found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    return found["extversion"] if found else None


def _place(uri: str) -> str:
    """Host and database, without credentials."""
    unreadable = SetupError(
        "The sink's address cannot be read; write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special "
        "characters percent-encoded."
    )
    try:
        parts: dict[str, Any] = conninfo_to_dict(uri)
    except psycopg.ProgrammingError as error:
        raise unreadable from error
    port = str(parts.get("port", 5432))
    if not re.fullmatch(r"[\d,]+", port):  # where a host is forgotten, the password stands in its place
        raise unreadable
    return f"PostgreSQL at {parts.get('host', 'localhost')}:{port}/{parts.get('dbname', '')}"
