"""One connection to a Milvus server, and its errors as sentences."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import urlsplit

import grpc
from pymilvus import MilvusClient, MilvusException  # type: ignore[import-untyped]

from ingest.sinks.milvus_schema import ServerAbilities, abilities
from serve_app.core.errors import SetupError

LOOPBACK = ("127.0.0.1", "localhost", "::1")

NO_KEEPALIVE = {"grpc.keepalive_time_ms": 2**31 - 1}


def channel_options(uri: str) -> dict[str, int]:
    """For gRPC. pymilvus pings every ten seconds, which the Python server of Milvus Lite takes for an attack.

    It closes the connection, and gRPC says so on stderr. On one machine no connection is lost without notice anyway.
    """
    return NO_KEEPALIVE if urlsplit(uri).hostname in LOOPBACK else {}


class MilvusConnection:
    """`client` is used inside `errors()` only, so that nothing but SetupError comes out. Threads may share it."""

    def __init__(self, uri: str, timeout_s: float, place: str) -> None:
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # the driver also prints every error that it raises
        self.place = f"Milvus at {place or urlsplit(uri).netloc.rpartition('@')[2]}"  # without credentials
        self.timeout_s = timeout_s
        with self.errors():
            self.client = MilvusClient(uri, timeout=timeout_s, dedicated=True, grpc_options=channel_options(uri))

    @cached_property
    def server(self) -> ServerAbilities:
        with self.errors():
            return abilities(str(self.client.get_server_version(timeout=self.timeout_s)))

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            reason = str(error.message).partition("\n")[0]
            raise SetupError(f"{self.place} cannot go on: {reason}") from error
        except grpc.RpcError as error:
            raise SetupError(f"{self.place} does not answer; check that it runs there.") from error
