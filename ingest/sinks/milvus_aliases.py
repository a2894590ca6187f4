"""Milvus's aliases: names that stand for a collection, and that the server moves in one step.

Every function may raise the driver's errors.
"""

from __future__ import annotations

from pymilvus import MilvusException  # type: ignore[import-untyped]

from ingest.sinks.collection_rules import has_own_name
from ingest.sinks.milvus_connection import MilvusConnection

_NOT_FOUND = (100, 1600)  # Lite's code and a server's


def target_of(milvus: MilvusConnection, alias: str) -> str | None:
    try:
        return str(milvus.client.describe_alias(alias, timeout=milvus.timeout_s)["collection_name"])
    except MilvusException as error:
        if error.code not in _NOT_FOUND:
            raise
        return None


def point(milvus: MilvusConnection, alias: str, collection: str) -> None:
    """Raises SetupError if a collection itself is called `alias`."""
    if target_of(milvus, alias) is None:
        if milvus.client.has_collection(alias, timeout=milvus.timeout_s):
            raise has_own_name(alias, milvus.place)
        try:
            milvus.client.create_alias(collection, alias, timeout=milvus.timeout_s)
        except MilvusException:
            if target_of(milvus, alias) is None:  # else another process has made it in the same moment
                raise
    if target_of(milvus, alias) != collection:
        milvus.client.alter_alias(collection, alias, timeout=milvus.timeout_s)


def remove_from(milvus: MilvusConnection, collection: str) -> None:
    """An old server would leave aliases that lead nowhere, and a new one refuses to drop under them."""
    for alias in milvus.client.list_aliases(collection, timeout=milvus.timeout_s)["aliases"]:
        milvus.client.drop_alias(alias, timeout=milvus.timeout_s)
