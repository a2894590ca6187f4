"""Where the clients are pointed: the session's cluster, and a strict Router in front of the same replicas."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve_app.core.types import ReplicaCounters
from serve_app.dispatch.slice_client import embedder_handle
from serve_app.settings import AppSettings, AuthSettings, LimitSettings, LiveSettings, ModelSettings, RouterSettings
from tests.clusters import RunningCluster
from tests.conformance.strict import serve_router
from tests.conformance.vectors import PlainEndpoint

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when haystack is imported
PRESETS = {"law": "Given a legal question, retrieve the clause that answers it"}


@pytest.fixture(scope="module")
def left_open() -> Iterator[None]:
    """The frameworks never close their HTTP clients: let them go here, not in the middle of somebody else's test.

    Goes with a module's `filterwarnings("ignore::ResourceWarning")`.
    """
    yield
    gc.collect()


@pytest.fixture(scope="session")
def plain(cluster: RunningCluster) -> PlainEndpoint:
    return PlainEndpoint(cluster.endpoint, cluster.model)


@pytest.fixture(scope="session")
def strict(
    cluster: RunningCluster, counters: Callable[[], ReplicaCounters], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlainEndpoint]:
    """A Router with keys, presets, small limits and no token ids; `counters` has connected this process to Ray."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    model = ModelSettings(path=str(cluster.checkpoint), name=cluster.model)
    settings = AppSettings(
        models=(model,),
        router=RouterSettings(raw_token_ids="reject"),  # a policy, not a secret
        auth=AuthSettings(keys_file=str(keys_file)),
        live=LiveSettings(presets=PRESETS, limits=LimitSettings(max_inputs=4, max_body_mib=1)),
    )
    key = create_key(keys_file, "--name", "conformance")
    with serve_router(settings, {cluster.model: embedder_handle(cluster.model)}) as url:
        yield PlainEndpoint(url, cluster.model, key)


def create_key(keys_file: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "cluster.cli", "keys", "create", "--file", str(keys_file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
