from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cluster.commands.evaluate import evaluate
from ingest.embedding.base import HttpAddress
from ingest.evaluate import run
from ingest.evaluate.metrics import Interval
from ingest.evaluate.questions import Answer, Question
from ingest.evaluate.run import Evaluation, Plan, Scores
from serve_app.core.errors import SetupError

SURE = Interval(0.5, 0.4, 0.6)
QUESTION = Question(question="Guide", answers=[Answer(source_file="guide.md")])
SCORES = (Scores("dense", 8, {1: SURE}, SURE, SURE), Scores("bm25", None, {1: SURE}, SURE, SURE))
FOUND = Evaluation("kb", "qwen", 3, (QUESTION,), True, 2, 0, SCORES, ("hybrid: needs [2.5]",))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, list[tuple[str, HttpAddress, Plan]]]]:
    asked: list[tuple[str, HttpAddress, Plan]] = []

    @contextmanager
    def opened(uri: str, create: bool) -> Iterator[tuple[str, str]]:
        assert not create
        yield uri, uri

    def measured(sink: str, address: HttpAddress, plan: Plan) -> Evaluation:
        asked.append((sink, address, plan))
        return FOUND

    monkeypatch.setattr("ingest.sinks.registry.open_sink", opened)
    monkeypatch.setattr(run, "evaluate", measured)
    app = typer.Typer()
    app.command()(evaluate)
    return lambda *options: (CliRunner().invoke(app, options, env={"COLUMNS": "120", "EMBED_API_KEY": "ek_1"}), asked)


def test_without_options_everything_has_its_default(command: Callable[..., Any]) -> None:
    done, ((sink, address, plan),) = command()
    assert done.exit_code == 0, done.output
    assert sink.startswith("milvus-lite:")
    assert address == HttpAddress("http://127.0.0.1:8000", "ek_1")
    assert plan == Plan("documents")
    assert "1 known items from headings, 3 chunks" in done.output
    assert {"0.500", "0.40–0.60"} <= set(done.output.split())
    assert "2 answers name a place" in done.output
    assert "Left out: hybrid: needs [2.5]" in done.output


def test_options_become_the_plan_and_files_are_named(command: Callable[..., Any], tmp_path: Path) -> None:
    options = ["--collection", "kb", "--dims", "256, 64,64", "--modes", "bm25,dense", "--k", "20,3", "--limit", "5"]
    more = ["--seed", "7", "--instruction", "Find it", "--sink", "s", "--endpoint", "http://e", "--out", str(tmp_path)]
    done, ((sink, address, plan),) = command(*options, *more)
    assert done.exit_code == 0, done.output
    assert (sink, address.url) == ("s", "http://e")
    assert plan == Plan("kb", None, (64, 256), ("bm25", "dense"), (3, 20), 5, "Find it", 7)
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "questions.jsonl", "evaluation.png"}
    assert done.output.count("Wrote ") == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dims", "many"], "--dims takes whole numbers"),
        (["--k", "0,1"], "--k takes whole numbers"),
        (["--k", "１"], "--k takes whole numbers"),
        (["--modes", "dense,sparse"], "there is no `sparse`; the modes are dense, index, bm25, hybrid"),
    ],
)
def test_options_that_cannot_be_read_are_told(command: Callable[..., Any], options: list[str], told: str) -> None:
    done, _ = command(*options)
    assert isinstance(done.exception, SetupError)
    assert told in done.exception.message
