"""What a job depends on breaks while it runs: it ends in one sentence or goes on, and the next run has everything."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import httpx

from ingest.embedding.base import HandleAddress, HttpAddress
from tests.canary import files_with, ledger_files, ray_logs
from tests.clusters import free_port
from tests.gateway import EMBED, TOKENIZE, Refusal, gateway, let_pass
from tests.resilience.place import (
    FILES,
    LATE,
    MARKER,
    SECTIONS,
    Once,
    Place,
    expected_texts,
    wait_until,
)

POISON = "¤"  # a sign of no other document
TOGETHER_S = 0.1


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


def test_a_file_deleted_while_the_job_runs_is_missing_and_no_other_is(place: Place) -> None:
    last = place.folder / f"pump_{FILES - 1}.md"

    with gateway(place.cluster.endpoint, Once(TOKENIZE, last.unlink)) as door:
        report = place.through(door)

    assert report.exit_code == 3
    assert {name: troubles[0].reason for name, troubles in report.troubles.items()} == {last.name: "missing"}
    assert report.complete == FILES - 1
    assert len(place.texts()) == (FILES - 1) * SECTIONS


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
