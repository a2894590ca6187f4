"""The ledger's tables, the same in SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = 1
ESCAPED = re.compile(r"\\(\\|u[0-9a-f]{4})")


class AnyText(TypeDecorator[str]):
    """Text that may hold what the stores refuse: NUL, and the lone surrogates of file names that are not UTF-8.

    Those are stored as `\\uXXXX` and the backslash itself doubled, so that every text comes back as it was.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace("\\", "\\\\").replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return ESCAPED.sub(_unescaped, value) if value and "\\" in value else value


def _unescaped(found: re.Match[str]) -> str:
    escaped = found[1]
    return escaped if escaped == "\\" else chr(int(escaped[1:], 16))


def source_id(source: str) -> str:
    """A key of fixed size, because PostgreSQL indexes no text of 3 KB and addresses of deep folders are longer."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:32]


metadata = MetaData()

schema_versions = Table(
    "ledger_schema", metadata, Column("id", Integer, primary_key=True), Column("version", Integer, nullable=False)
)

leases = Table(
    "ledger_leases",
    metadata,
    Column("collection", AnyText, primary_key=True),
    Column("token", String(32), nullable=False),
    Column("host", AnyText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("since", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

runs = Table(
    "ledger_runs",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("collection", AnyText, nullable=False, index=True),
    Column("physical", AnyText, nullable=False),
    Column("fingerprint", AnyText, nullable=False),
    Column("status", AnyText, nullable=False),
    Column("started", Double, nullable=False),
    Column("finished", Double),
    Column("counts", JSON, nullable=False),
)

collections = Table(
    "ledger_collections",
    metadata,
    Column("physical", AnyText, primary_key=True),
    Column("alias", AnyText, nullable=False, index=True),
    Column("fingerprint", AnyText, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Double, nullable=False),
)

sources = Table(
    "ledger_sources",
    metadata,
    Column("physical", AnyText, primary_key=True),
    Column("source_id", String(32), primary_key=True),
    Column("source", AnyText, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("root", AnyText, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("run_id", String(32), nullable=False),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "ledger_dead_letters",
    metadata,
    Column("collection", AnyText, primary_key=True),
    Column("source_id", String(32), primary_key=True),
    Column("physical", AnyText, nullable=False),  # a letter stands for one fingerprint, as its collection does
    Column("source", AnyText, nullable=False),
    Column("source_file", AnyText, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("message", AnyText, nullable=False),
    Column("permanent", Boolean, nullable=False),
    Column("root", AnyText, nullable=False),
    Column("chunk_keys", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    sqlite_with_rowid=False,
)
