"""What a database error means for a person. Only its code is used: a driver's own words may quote stored values."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

SQLITE_TROUBLES = {  # by primary result code
    sqlite3.SQLITE_READONLY: "is read-only. Make it and its folder writable, or choose another with `ingest.ledger`.",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full. Free some space and run again; nothing committed is lost.",
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk is full, has a quota, or fails. "
        "Free some space, or choose another place with `ingest.ledger`; nothing committed is lost."
    ),
    sqlite3.SQLITE_BUSY: "is kept busy by another process. End that one, or wait for it, and run again.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened. Make its folder writable, or choose another with `ingest.ledger`.",
    sqlite3.SQLITE_NOTADB: "is no SQLite file. Choose another with `ingest.ledger`.",
    sqlite3.SQLITE_CORRUPT: (
        "is damaged. Put it back from a backup, or move it away and run again: "
        "every source is then read once more, and what is stored already is not embedded again."
    ),
}
POSTGRES_TROUBLES = {  # by SQLSTATE, or its class
    "53100": "has no disk space left. Free some and run again; nothing committed is lost.",
    "25006": "is read-only, a standby perhaps. Name the primary in `ingest.ledger`.",
    "42501": "lets this user make no tables. GRANT CREATE ON SCHEMA, or name another user in `ingest.ledger`.",
    "53300": "has no connection left. Raise max_connections, or end other jobs.",
    "55P03": "is kept busy by another transaction. End that one, and run again.",
    "57P": "cannot be reached: the server is stopping or starting. Run again when it is up.",
}
UNREACHABLE = (  # the driver tells a server that is down from one that refuses by its words alone
    "cannot be reached, or refuses the connection. Is the server up, does the database exist, and are host, user and "
    "password right? Correct `ingest.ledger`; the password may also be in PGPASSWORD or ~/.pgpass."
)


def refusal(error: DBAPIError, place: str) -> str:
    """One sentence that names the ledger, what is wrong with it, and the fix."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return f"The ledger {place} {_of_sqlite(cause)}"
    return f"The ledger {place} {_of_postgres(cause)}"


def _of_sqlite(cause: sqlite3.Error) -> str:
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # the module's own errors have none
    name = getattr(cause, "sqlite_errorname", type(cause).__name__)
    return SQLITE_TROUBLES.get(code & 0xFF, f"answers {name}. Is it one of this product's ledgers, and undamaged?")


def _of_postgres(cause: BaseException | None) -> str:
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None or state.startswith("08"):
        return UNREACHABLE
    for length in (5, 3):
        if state[:length] in POSTGRES_TROUBLES:
            return POSTGRES_TROUBLES[state[:length]]
    return f"answers with SQLSTATE {state}. Is it one of this product's ledgers, and undamaged?"
