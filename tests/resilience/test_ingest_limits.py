"""A job and a cluster that asks for keys and has short queues."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ingest.embedding.base import HttpAddress
from ingest.settings import ChunkSettings, IngestSettings
from tests.clusters import embedctl
from tests.resilience.conftest import Keyed
from tests.resilience.place import (
    Place,
)

LONG, QUEUED_TOKENS = 2000, 8192


def test_a_missing_and_a_wrong_key_are_refused_before_anything_is_made(place: Place, small: Keyed) -> None:
    endpoint = small.running.endpoint
    told = [place.broken(HttpAddress(endpoint, key)) for key in ("", small.key[:-1] + "!")]

    assert "needs an API key" in told[0]
    assert "not a valid one" in told[1]
    assert small.key[:-1] not in told[1]
    assert not Path(place.sink.removeprefix("milvus-lite:")).exists()


def test_a_corpus_many_times_larger_than_the_queue_of_the_cluster_is_ingested(place: Place, small: Keyed) -> None:
    lines = [
        json.dumps({"text": f"{number}: " + "The pump is checked by its operator. " * 40}) for number in range(150)
    ]
    (place.folder / "large.jsonl").write_text("\n".join(lines), encoding="utf-8")
    settings = f"ingest: {{chunks: {{tokens: {LONG}}}}}"
    (place.folder.parent / "cluster.yaml").write_text(settings, encoding="utf-8")
    way = ["--model", small.running.model, "--address", small.running.address, "--sink", place.sink]

    report = replace(place, settings=IngestSettings(chunks=ChunkSettings(tokens=LONG))).run(
        HttpAddress(small.running.endpoint, small.key, small.running.model)
    )
    inside = embedctl(
        *("ingest", str(place.folder), *way, "--collection", "inside"),
        *("--config", str(place.folder.parent / "cluster.yaml")),
    )

    assert inside.returncode == 0, inside.stdout + inside.stderr
    assert report.exit_code == 0
    assert report.tokens > 10 * QUEUED_TOKENS
