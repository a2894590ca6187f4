"""One HTTP session for thousands of requests, and the document they are made from."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from schemathesis.schemas import BaseSchema

from tests.clusters import RunningCluster

ANSWER_WITHIN_S = 30.0


@pytest.fixture(scope="session")
def http(cluster: RunningCluster) -> Iterator[httpx.Client]:
    """A request that hangs fails by its time limit."""
    with httpx.Client(base_url=cluster.endpoint, timeout=ANSWER_WITHIN_S) as client:
        yield client


@pytest.fixture(scope="session")
def document(cluster: RunningCluster) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{cluster.endpoint}/openapi.json")
