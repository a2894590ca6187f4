"""Making the tables, and refusing those of a newer release."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.schema import CreateIndex, CreateTable

from ingest.ledger.store import Store
from ingest.ledger.tables import SCHEMA_VERSION, metadata, schema_versions
from serve_app.core.errors import SetupError


def prepare(store: Store) -> None:
    """Make what is missing; several processes may do so at once. Raises SetupError, also for a newer release's ledger.

    The version is looked at before anything else is made: an older release leaves a newer one's tables alone.
    """
    with store.transaction() as connection:
        store.serialize_setup(connection)
        connection.execute(CreateTable(schema_versions, if_not_exists=True))
        row = store.insert(schema_versions).values(id=1, version=SCHEMA_VERSION)
        connection.execute(row.on_conflict_do_nothing())
        found = connection.execute(select(schema_versions.c.version)).scalar_one()
        if found > SCHEMA_VERSION:
            raise SetupError(
                f"The ledger {store.place} is of a newer release: its schema is {found}, and this one knows "
                f"{SCHEMA_VERSION}. Upgrade embed-cluster, or name another in `ingest.ledger`."
            )
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
