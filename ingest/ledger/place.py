"""Where the ledger of a store is kept, if nobody says."""

from __future__ import annotations

import hashlib
from pathlib import Path

LITE_SCHEME = "milvus-lite:"
POSTGRES_SCHEMES = ("postgresql://", "postgres://")
FOLDER = Path("embed-data")


def ledger_uri(configured: str, sink: str) -> str:
    """What is configured, or else a ledger of the store's own: two stores that shared one would confuse it.

    For pgvector the same database, for Milvus Lite a file beside its folder, for a Milvus server a file in
    `./embed-data` that is named after its address.
    """
    if configured:
        return configured
    if sink.startswith(POSTGRES_SCHEMES):
        return sink
    if sink.startswith(LITE_SCHEME):
        folder = Path(sink.removeprefix(LITE_SCHEME)).expanduser().absolute()
        return f"sqlite:{folder.with_name(folder.name + '.ledger.sqlite')}"
    return f"sqlite:{FOLDER / f'ledger-{hashlib.sha256(sink.encode()).hexdigest()[:8]}.sqlite'}"
