"""A folder of documents with a store of its own, and jobs that bring the one into the other."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import PIPE

import pytest
from rich.console import Console

from ingest.embedding.base import Address, HandleAddress, HttpAddress
from ingest.ledger.ledger import open_ledger
from ingest.ledger.place import ledger_uri
from ingest.report import IngestReport
from ingest.run import find, run
from ingest.settings import ChunkSettings, IngestSettings, ParseSettings
from ingest.sinks.registry import open_sink
from ingest.work import IngestJob
from serve_app.core.errors import SetupError
from tests.clusters import RunningCluster, user_environment
from tests.gateway import Gateway, Refusal

FILES, SECTIONS = 8, 4
LATE = 6  # request for vectors of a run: the first files have been committed by then
MARKER = "xylocarp-51ce-quaternion"
WITHIN_S = 60.0
LEASE_S = 5.0  # where a job cannot give its lease back
SETTINGS = IngestSettings(
    parse=ParseSettings(actors=1),  # one file after the other
    chunks=ChunkSettings(tokens=64, merge_below_tokens=0),
    rows_per_write=SECTIONS,
)


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


def with_short_lease(place: Place) -> Place:
    return replace(place, settings=place.settings.model_copy(update={"lease_s": LEASE_S}))


def has_run(place: Place) -> bool:
    with suppress(SetupError), open_ledger(ledger_uri("", place.sink), create=False) as ledger:
        return bool(ledger.runs("documents"))
    return False


@contextmanager
def started(arguments: list[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    with subprocess.Popen(command, env={**user_environment(), **(environment or {})}, stdout=PIPE, stderr=PIPE) as job:
        try:
            yield job
        finally:
            job.kill()
