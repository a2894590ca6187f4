"""The second night: what changed, what is gone, another pipeline, another tenant, and the way over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openai
import pytest
from rich.console import Console

from ingest.embedding.base import HandleAddress
from ingest.report import IngestReport
from ingest.run import find, run
from ingest.settings import IngestSettings
from ingest.sinks.base import Query, VectorSink
from ingest.sinks.registry import open_sink
from ingest.work import IngestJob
from serve_app.core.errors import EmbedError
from serve_app.core.types import ReplicaCounters
from tests.clusters import RunningCluster, embedctl

pytestmark = pytest.mark.usefixtures("counters")  # it has joined the cluster, where the jobs run

SECTIONS = 12
DEFAULTS = IngestSettings()
NARROW = IngestSettings(dimensions=64)


def page(section: int, word: str) -> str:
    return (
        f"# Section {section}\n\nValve {section} of the plant opens at {word} bar and closes again. "
        + f"Steady {section}. " * 30
    )


def write_pages(folder: Path, words: dict[int, str]) -> None:
    for number in range(3):
        text = "\n\n".join(page(section, words.get(section, "nine")) for section in range(number * 4, number * 4 + 4))
        (folder / f"part_{number}.md").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    write_pages(folder, {})
    return folder


@pytest.fixture
def sink(tmp_path: Path) -> str:
    return f"milvus-lite:{tmp_path / 'milvus'}"


def ingest(
    cluster: RunningCluster,
    source: Path,
    sink: str,
    settings: IngestSettings = DEFAULTS,
    tenant: str = "",
    prune: bool = False,
) -> IngestReport:
    """What `embedctl ingest` does, without the seconds in which a process of its own joins the cluster."""
    job = IngestJob((str(source),), "documents", sink, HandleAddress(cluster.model), tenant, prune)
    return run(job, find(job, settings), settings, Console(quiet=True))


def ingest_by_command(cluster: RunningCluster, folder: Path, sink: str, *more: str) -> str:
    done = embedctl("ingest", str(folder), "--sink", sink, "--model", cluster.model, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def row(output: str, name: str) -> str:
    line = next(line for line in output.splitlines() if name in line)
    return line.strip("│ ").split("│")[-1].strip()


def contents(store: VectorSink, collection: str = "documents") -> dict[str, str]:
    return {stored.key: stored.text for stored in store.scan(collection, with_vectors=False)}


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[list[BaseException]]:
    """`look` again and again in a thread while the block runs; what it raises is in the list."""
    stop, failures = threading.Event(), list[BaseException]()

    def loop() -> None:
        while not stop.wait(0.02):
            try:
                look()
            except (AssertionError, EmbedError) as error:
                failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield failures
    finally:
        stop.set()
        thread.join()


def test_several_writers_store_every_chunk_once(
    cluster: RunningCluster, folder: Path, sink: str, tmp_path: Path, counters: Callable[[], ReplicaCounters]
) -> None:
    one = ingest(cluster, folder, f"milvus-lite:{tmp_path / 'one'}")
    before = counters().texts["bulk"]

    several = ingest(cluster, folder, sink, IngestSettings(writers=3, rows_per_write=2))

    assert counters().texts["bulk"] - before == several.stored == one.stored
    with open_sink(sink) as (store, _), open_sink(f"milvus-lite:{tmp_path / 'one'}") as (other, _):
        assert contents(store) == contents(other)


def test_an_edited_paragraph_is_embedded_alone_and_is_never_missing_in_both_versions(
    cluster: RunningCluster, folder: Path, sink: str, client: openai.OpenAI, counters: Callable[[], ReplicaCounters]
) -> None:
    ingest(cluster, folder, sink)
    vector = client.embeddings.create(model=cluster.model, input=page(5, "nine")).data[0].embedding
    query = Query(_unit(vector), limit=50)  # more than there are chunks of both versions
    with open_sink(sink) as (store, _):
        before = contents(store)
        sightings: list[int] = []

        def look() -> None:
            hits = store.search("documents", query)
            sightings.append(len(hits))
            assert any("Valve 5 of" in hit.text for hit in hits)
            assert any("Valve 5 of" in text for text in contents(store).values())

        write_pages(folder, {5: "eight"})
        texts = counters().texts["bulk"]
        with watching(look) as failures:
            report = ingest(cluster, folder, sink)
        after = contents(store)

    new, gone = set(after) - set(before), set(before) - set(after)
    assert failures == []
    assert len(sightings) > 5
    assert min(sightings) >= len(before)  # the limit cut nothing off, so that no ranking hid the paragraph
    assert max(sightings) < query.limit
    assert ["eight bar" in after[key] for key in new] == [True]
    assert ["nine bar" in before[key] and "Valve 5 of" in before[key] for key in gone] == [True]
    assert counters().texts["bulk"] - texts == 1
    assert report.unchanged == 2


def test_files_that_are_gone_stay_until_pruning_is_asked_for(cluster: RunningCluster, folder: Path, sink: str) -> None:
    first = ingest(cluster, folder, sink)
    (folder / "part_2.md").unlink()

    kept = ingest(cluster, folder, sink)
    pruned = ingest(cluster, folder, sink, prune=True)

    assert (kept.gone, kept.stored) == (1, first.stored)
    assert pruned.pruned > 0
    assert pruned.stored == first.stored - pruned.pruned
    with open_sink(sink) as (store, _):
        assert not any("Valve 9 of" in text for text in contents(store).values())


def test_a_change_of_the_pipeline_builds_a_new_collection_while_searches_go_on(
    cluster: RunningCluster, folder: Path, sink: str, client: openai.OpenAI
) -> None:
    ingest(cluster, folder, sink)
    vector = client.embeddings.create(model=cluster.model, input="valve 3").data[0].embedding
    queries = {size: Query(_unit(vector[:size])) for size in (64, len(vector))}
    with open_sink(sink) as (store, _):
        old = store.target_of("documents")
        sizes: list[int] = []

        def look() -> None:
            spec = store.spec_of(store.target_of("documents") or "")
            assert spec is not None
            sizes.append(spec.dimensions)
            assert store.search(spec.name, queries[spec.dimensions])

        with watching(look) as failures:
            report = ingest(cluster, folder, sink, NARROW)
        look()  # the flip is the last thing a run does
        new = store.target_of("documents")

        assert failures == []
        assert sizes[0] == len(vector)
        assert sizes[-1] == 64
        assert new != old
        assert {old, new} <= set(store.names())
        assert "Searches now use" in report.flip


def test_a_rebuild_of_a_part_of_the_sources_does_not_take_searches_over(
    cluster: RunningCluster, folder: Path, sink: str
) -> None:
    ingest(cluster, folder, sink)

    part = ingest(cluster, folder / "part_0.md", sink, NARROW)
    whole = ingest(cluster, folder, sink, NARROW)

    assert part.exit_code == 3
    assert "lacks 2 of the sources" in part.unflipped
    assert "Searches now use" in whole.flip


def test_tenants_have_the_same_file_each_and_see_only_their_own(
    cluster: RunningCluster, folder: Path, sink: str
) -> None:
    once = ingest(cluster, folder, sink, tenant="acme").stored
    twice = ingest(cluster, folder, sink, tenant="globex").stored
    search = ("--sink", sink, "--model", cluster.model, "--endpoint", cluster.endpoint, "--json", "--limit", "50")

    found = embedctl("search", "valve", *search, "--tenant", "acme")

    assert twice == 2 * once
    assert len(found.stdout.splitlines()) == once


def test_over_http_the_collection_is_the_same(cluster: RunningCluster, folder: Path, tmp_path: Path) -> None:
    inside, outside = (f"milvus-lite:{tmp_path / name}" for name in ("inside", "outside"))

    ingest(cluster, folder, inside)
    ingest_by_command(cluster, folder, outside, "--endpoint", cluster.endpoint)

    with open_sink(inside) as (one, _), open_sink(outside) as (other, _):
        vectors = {stored.key: stored.vector for stored in one.scan("documents")}
        others = {stored.key: stored.vector for stored in other.scan("documents")}
    assert vectors.keys() == others.keys()
    assert min(float(np.dot(vectors[key], others[key])) for key in vectors) > 0.999  # type: ignore[arg-type]


def test_a_dry_run_counts_and_writes_nothing(cluster: RunningCluster, folder: Path, sink: str, tmp_path: Path) -> None:
    (folder / "copy.md").write_bytes((folder / "part_0.md").read_bytes())

    output = ingest_by_command(cluster, folder, sink, "--dry-run", "--address", cluster.address)

    assert row(output, "files") == "4"
    assert int(row(output, "exact duplicates")) == 4
    assert int(row(output, "tokens").replace(",", "")) > 0
    assert "tokens/s" in row(output, "time to embed")
    assert not list(tmp_path.glob("milvus*"))


def test_a_corpus_of_ready_made_texts_keeps_its_columns_as_metadata(
    cluster: RunningCluster, tmp_path: Path, sink: str
) -> None:
    records = [
        {"text": f"Pump number {number} has {number} valves.", "site": "north", "year": 2000 + number}
        for number in range(5)
    ]
    lines = [json.dumps(record) for record in records]
    (tmp_path / "pumps.jsonl").write_text("\n".join([*lines[:3], '{"text": 7}', *lines[3:]]), encoding="utf-8")
    report = ingest(cluster, tmp_path / "pumps.jsonl", sink)
    options = ("--sink", sink, "--model", cluster.model, "--endpoint", cluster.endpoint, "--json", "--limit", "9")

    found = embedctl("search", "pump", *options, "--filter", "meta.year >= 2003 and meta.site = 'north'")

    assert report.exit_code == 3
    assert [trouble.reason for troubles in report.troubles.values() for trouble in troubles] == ["bad_row"]
    assert {json.loads(line)["metadata"]["year"] for line in found.stdout.splitlines()} == {2003, 2004}


def _unit(vector: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    array = np.array(vector, dtype=np.float32)
    return array / np.linalg.norm(array)
