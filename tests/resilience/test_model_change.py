"""Another model for a collection that is being searched: every search is answered, by the old one and then the new."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import openai

from ingest.search import search_named
from ingest.sinks.base import CollectionSpec, Query, Vector, VectorSink
from ingest.sinks.registry import open_sink
from tests.clusters import RunningCluster, embedctl
from tests.integration.test_ingest_again import page, watching

QUESTION = "at how many bar does valve 5 open"


def test_searches_by_alias_are_answered_while_a_collection_goes_over_to_another_model(
    pair: RunningCluster, tmp_path: Path
) -> None:
    folder, sink = tmp_path / "documents", f"milvus-lite:{tmp_path / 'milvus'}"
    folder.mkdir()
    for number in range(8):
        (folder / f"valve_{number}.md").write_text(page(number, "nine"), encoding="utf-8")

    def ingest(model: str) -> str:
        way = ("--address", pair.address, "--model", model)
        done = embedctl("ingest", str(folder), "--sink", sink, *way)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ingest(pair.model)
    assert asked_by_command(pair, sink).returncode == 0
    with (
        openai.OpenAI(base_url=f"{pair.endpoint}/v1", api_key="EMPTY", max_retries=0) as client,
        open_sink(sink) as (store, _),
    ):
        old = live(store)
        questions = {model: embedded(client, model, [QUESTION])[0] for model in (pair.model, "narrow")}
        answered_by: list[str] = []
        with watching(lambda: answered_by.append(search(store, questions))) as failures:
            output = ingest("narrow")
        searched = asked_by_command(pair, sink)
        new = live(store)
        stored = list(store.scan("documents"))
        again = embedded(client, "narrow", [chunk.text for chunk in stored])

        assert failures == []
        assert "valve_5.md" in searched.stdout, searched.stderr
        assert (answered_by[0], answered_by[-1]) == (pair.model, "narrow")
        assert answered_by == sorted(answered_by, reverse=True)  # there was one flip
        assert "Searches now use" in output
        assert (old.model, new.model) == (pair.model, "narrow")
        assert {old.name, new.name} <= set(store.names())
        assert store.count(old.name) == store.count(new.name) == len(stored)
        assert min(float(np.dot(chunk.vector, own)) for chunk, own in zip(stored, again, strict=True)) > 0.999  # type: ignore[arg-type]

        dropped = embedctl("collections", "drop", old.name, "--yes", "--sink", sink)
        assert dropped.returncode == 0, dropped.stderr
        assert old.name not in store.names()
        assert search(store, questions) == "narrow"


def asked_by_command(pair: RunningCluster, sink: str) -> subprocess.CompletedProcess[str]:
    """Without --model: the command finds out which one the collection behind the alias was made for."""
    return embedctl("search", QUESTION, "--sink", sink, "--endpoint", pair.endpoint, "--hybrid")


def live(store: VectorSink) -> CollectionSpec:
    spec = store.spec_of(store.target_of("documents") or "")
    assert spec is not None
    return spec


def search(store: VectorSink, questions: dict[str, Vector]) -> str:
    """The model whose collection has answered; the question is asked with the vector of that model."""
    asked: list[str] = []

    def question(known: CollectionSpec | None) -> Query:
        assert known is not None
        asked.append(known.model)
        return Query(questions[known.model])

    assert search_named(store, "documents", question)
    return asked[-1]


def embedded(client: openai.OpenAI, model: str, texts: list[str]) -> list[Vector]:
    answer = client.embeddings.create(model=model, input=texts)
    return [np.array(item.embedding, dtype=np.float32) for item in answer.data]
