from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner, Result

from cluster.commands.search import search
from ingest import search as searching
from ingest.search import Endpoint, Question
from ingest.sinks.base import Hit, Query

HIT = Hit(0.5, "k", "lease_0001", "file:///lease.md", "lease.md", 1, 1, ("Lease",), "The rent is due monthly.")
Asked = list[tuple[str, str, Endpoint, Question, Query]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Result], Asked]:
    asked: Asked = []

    def answer(*told: object) -> list[Hit]:
        asked.append(told)  # type: ignore[arg-type]
        return [HIT]

    monkeypatch.setattr(searching, "search", answer)
    app = typer.Typer()
    app.command()(search)
    return lambda *options: CliRunner().invoke(app, options, env={"COLUMNS": "120"}), asked


def test_a_question_without_options_leaves_the_model_to_the_collection(
    command: tuple[Callable[..., Result], Asked],
) -> None:
    run, asked = command
    done = run("When is the rent due?", "--collection", "kb")
    assert done.exit_code == 0, done.output
    assert "lease.md, page 1" in done.output
    ((sink, collection, _, question, query),) = asked
    assert (sink.partition(":")[0], collection) == ("milvus-lite", "kb")
    assert question == Question("When is the rent due?")
    assert query == Query(None, 3)


def test_options_go_to_the_model_and_to_the_store(command: tuple[Callable[..., Result], Asked]) -> None:
    run, asked = command
    done = run(
        "rent", "--model", "m@law", "--instruction", "Find it", "--hybrid", "--tenant", "acme", "-n", "1", "--json"
    )
    assert json.loads(done.output)["source_file"] == "lease.md"
    assert asked[0][3:] == (Question("rent", "m@law", "Find it"), Query(None, 1, "rent", tenant="acme"))


def test_bytes_that_are_no_text_are_asked_and_shown_as_question_marks(
    command: tuple[Callable[..., Result], Asked],
) -> None:
    run, asked = command
    done = run("a\udcff", "--hybrid")
    assert done.exit_code == 0, done.exception
    assert "? a?" in done.output
    assert (asked[0][3].text, asked[0][4].text) == ("a?", "a?")
