"""The job is killed at many moments; the collection ends as if nothing had happened."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ingest.ledger.ledger import Ledger, open_ledger
from ingest.ledger.place import ledger_uri
from ingest.sinks.registry import open_sink
from serve_app.core.types import ReplicaCounters
from tests.clusters import RunningCluster, embedctl, user_environment

SEED = 20_261_122
FILES, SECTIONS = 24, 5
LEASE_S = 5  # a killed job gives its collection free after so long
START_WITHIN_S = 60.0
COMMITTING = "between commits"


def write_files(folder: Path, version: int, files: range) -> None:
    for number in files:
        sections = [
            f"# Part {section}\n\nMachine {number}.{section} is in revision {version if section == 0 else 0}. "
            + f"Its pressure is {number * section} bar, and it is checked by its operator. " * 5
            for section in range(SECTIONS)
        ]
        (folder / f"machine_{number:02}.md").write_text("\n\n".join(sections), encoding="utf-8")


def command(cluster: RunningCluster, folder: Path, sink: str, config: Path) -> list[str]:
    options = ["--sink", sink, "--model", cluster.model, "--address", cluster.address, "--config", str(config)]
    return ["ingest", str(folder), *options]


def run_and_kill(arguments: list[str], moment: Callable[[Callable[[], bool]], None]) -> bool:
    """Whether the job was still running at the `moment`, when it is killed with whatever it has started itself."""
    whole = [sys.executable, "-m", "cluster.cli", *arguments]
    environment = user_environment()
    with subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as job:
        moment(lambda: job.poll() is not None)
        was_running = job.poll() is None
        own = psutil.Process(job.pid).children(recursive=True) if was_running else []
        job.kill()
        for process in own:
            process.kill()
        psutil.wait_procs(own, timeout=10)
    return was_running


def wait(seconds: float, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_over():
        time.sleep(0.01)


@dataclass
class Torturer:
    """Kills one job in three on its way to its run, one within its run and one while it commits."""

    command: list[str]
    ledger: Ledger
    usual_s: float  # of the whole job
    usual_run_s: float
    chance: random.Random

    def kill(self, number: int) -> str:
        """The stage in which the job died."""
        before = self._newest()

        def moment(is_over: Callable[[], bool]) -> None:
            if number % 3 == 0:
                wait(self.chance.uniform(0.1, 0.7) * (self.usual_s - self.usual_run_s), is_over)
                return
            wait(START_WITHIN_S, lambda: is_over() or self._newest() != before)
            if number % 3 == 1:
                wait(self.chance.uniform(0.0, 0.9) * self.usual_run_s, is_over)
                return
            wait(START_WITHIN_S, lambda: is_over() or self._stage(before) == COMMITTING)
            wait(self.chance.uniform(0.0, 0.1), is_over)

        was_running = run_and_kill(self.command, moment)
        return self._stage(before) if was_running else "it had ended"

    def _newest(self) -> str:
        return next((run.run_id for run in self.ledger.runs("documents", limit=1)), "")

    def _stage(self, before: str) -> str:
        newest = next(iter(self.ledger.runs("documents", limit=1)), None)
        if newest is None or newest.run_id == before:
            return "before the run"
        if newest.status != "running":
            return "after the run"
        committed = [state for state in self.ledger.sources(newest.physical).values() if state.run_id == newest.run_id]
        return COMMITTING if committed else "before the first commit"


def run_seconds(sink: str) -> float:
    with open_ledger(ledger_uri("", sink)) as ledger:
        run = ledger.runs("documents")[0]
    return (run.finished or run.started) - run.started


def contents(sink: str) -> Counter[tuple[str, str]]:
    """(file, text) of every stored chunk, with how often it is there."""
    with open_sink(sink) as (store, _):
        return Counter((Path(chunk.source).name, chunk.text) for chunk in store.scan("documents", with_vectors=False))


def test_a_job_killed_again_and_again_loses_nothing_and_stores_nothing_twice(
    cluster: RunningCluster, counters: Callable[[], ReplicaCounters], tmp_path: Path, kills: int
) -> None:
    folder, config = tmp_path / "documents", tmp_path / "cluster.yaml"
    folder.mkdir()
    config.write_text(f"ingest: {{lease_s: {LEASE_S}, rows_per_write: 16}}\n", encoding="utf-8")
    sinks = {name: f"milvus-lite:{tmp_path / name}" for name in ("tortured", "spared")}
    tortured, spared = (command(cluster, folder, sink, config) for sink in sinks.values())
    write_files(folder, 0, range(FILES))
    started = time.monotonic()
    assert embedctl(*spared).returncode == 0
    usual_s = time.monotonic() - started
    usual_run_s = run_seconds(sinks["spared"])
    before = counters().texts["bulk"]

    stages: Counter[str] = Counter()
    with open_ledger(ledger_uri("", sinks["tortured"])) as ledger:
        chance = random.Random(SEED)  # noqa: S311  # repeatable
        torturer = Torturer(tortured, ledger, usual_s, usual_run_s, chance)
        for number in range(kills):
            write_files(folder, number, range(number % 3, FILES, 3))  # so that there is always something to do
            stages[torturer.kill(number)] += 1
            time.sleep(LEASE_S - 2)  # the next job takes more than the rest to get to its lease
        time.sleep(LEASE_S)
    last = embedctl(*tortured)
    embedded = counters().texts["bulk"] - before
    assert embedctl(*spared, "--recreate").returncode == 0

    assert last.returncode == 0, last.stdout + last.stderr
    stored = contents(sinks["tortured"])
    assert stored == contents(sinks["spared"])
    assert set(stored.values()) == {1}
    with open_ledger(ledger_uri("", sinks["tortured"])) as ledger:
        assert ledger.runs("documents")[0].status == "done"
        assert not list(ledger.letters("documents"))
    assert len(stages.keys() - {"it had ended", "after the run"}) > 1, stages
    changed = FILES * SECTIONS + sum(len(range(number % 3, FILES, 3)) for number in range(kills))
    print(f"{kills} runs ended {dict(stages)}; {embedded} texts were embedded where {changed} had to be at most once")
    assert embedded > 0
