from __future__ import annotations

import pytest

from ingest.sinks.milvus_connection import NO_KEEPALIVE, channel_options


@pytest.mark.parametrize("uri", ["http://127.0.0.1:19530", "http://localhost:19530", "http://[::1]:19530"])
def test_a_store_on_this_machine_is_not_pinged_because_milvus_lite_closes_the_connection_then(uri: str) -> None:
    assert channel_options(uri) == NO_KEEPALIVE


def test_a_store_elsewhere_is_pinged_as_pymilvus_does() -> None:
    assert channel_options("https://user:word@milvus.example:19530") == {}
