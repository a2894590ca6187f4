from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.commands import verification
from cluster.commands.verification import DOCUMENTS, QUESTION, TASK, Endpoint, Reference, checkpoint_of
from cluster.config import ClusterConfig
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors
from serve_app.model.checkpoint import read_profile
from serve_app.model.golden import read_golden
from serve_app.settings import ModelSettings
from tests.unit.ingest.endpoint_server import Endpoint as FakeEndpoint
from tests.unit.ingest.endpoint_server import Told, items, serving
from tests.unit.serve_app.checkpoints import bert_checkpoint, qwen3_checkpoint

ROWS = len(DOCUMENTS) + 1
RIGHT: Vectors = np.random.default_rng(3).standard_normal((ROWS, 16)).astype(np.float32)


class Served(FakeEndpoint):
    """Answers with given vectors: the first to all documents, the last to the question."""

    vectors: Vectors

    def answer(self, path: str, body: dict[str, Any]) -> Told:
        self.asked.append((path, body))
        if self.told:
            return self.told.popleft()
        if path == "/v1/models":
            return Told(200, {"data": [{"id": "first"}, {"id": "second"}]})
        return Told(200, {"data": items(self.vectors[:-1] if len(body["input"]) > 1 else self.vectors[-1:])})


@pytest.fixture
def served() -> Iterator[Served]:
    endpoint = Served()
    endpoint.vectors = RIGHT
    with serving(endpoint):
        yield endpoint


def test_the_vectors_come_in_the_order_of_the_texts(served: Served) -> None:
    assert np.array_equal(Endpoint(served.url, "").vectors("m", has_instruction=True), RIGHT)
    documents, question = served.bodies
    assert (documents["model"], documents["input"]) == ("m", list(DOCUMENTS))
    assert (question["input"], question["input_type"], question["instruction"]) == ([QUESTION], "query", TASK)


def test_a_model_without_instructions_is_asked_without_one(served: Served) -> None:
    Endpoint(served.url, "").vectors("m", has_instruction=False)
    assert "instruction" not in served.bodies[1]


def test_the_key_is_sent_and_only_if_there_is_one(served: Served) -> None:
    Endpoint(served.url, "ek_1").served_model("")
    Endpoint(served.url, "").served_model("")
    assert served.keys == ["Bearer ek_1", None]


def test_the_key_is_not_shown() -> None:
    assert "ek_secret" not in repr(Endpoint("http://x", "ek_secret"))


def test_without_a_name_the_first_model_is_meant(served: Served) -> None:
    assert Endpoint(served.url, "").served_model("") == "first"
    assert Endpoint(served.url, "").served_model("mine") == "mine"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Told.error(401, "The API key is not a valid one"), "refused: The API key is not a valid one"),
        (Told(502, "Bad gateway"), "HTTP 502"),
        (Told(200, "hello"), "no embedding endpoint"),
        (Told(200, {"data": [{"index": 0}]}), "no embedding endpoint"),
        (Told(200, {"data": items(RIGHT[:1])}), "no embedding endpoint"),
        (Told(200, {"data": items(RIGHT[:-1, :8])}), "no embedding endpoint"),
    ],
)
def test_an_answer_that_is_no_embedding_is_explained(served: Served, answer: Told, said: str) -> None:
    served.told.append(answer)
    with pytest.raises(SetupError, match=said):
        Endpoint(served.url, "").vectors("m", has_instruction=True)


def test_the_question_is_written_as_the_model_card_wants_it(tmp_path: Path) -> None:
    profile = read_profile(ModelSettings(path="x"), qwen3_checkpoint(tmp_path))
    assert verification.question(profile) == f"Instruct: {TASK}\nQuery:{QUESTION}"


def test_a_model_without_a_query_format_gets_the_bare_question(tmp_path: Path) -> None:
    profile = read_profile(ModelSettings(path="x"), bert_checkpoint(tmp_path))
    assert verification.question(profile) == QUESTION


def test_the_checkpoint_is_found_by_name_and_by_alias(tmp_path: Path) -> None:
    model = {"path": str(tmp_path), "name": "mine", "aliases": ["default"]}
    config = ClusterConfig.model_validate({"models": [{"path": "a/b"}, model]})
    assert checkpoint_of(config, "mine", None) == (config.models[1], tmp_path)
    assert checkpoint_of(config, "default", None) == (config.models[1], tmp_path)
    with pytest.raises(SetupError, match="--checkpoint"):
        checkpoint_of(config, "other", None)


def test_a_given_checkpoint_needs_no_configuration(tmp_path: Path) -> None:
    config = ClusterConfig.model_validate({"models": [{"path": "a/b"}]})
    settings, directory = checkpoint_of(config, "other", tmp_path)
    assert (settings.served_name, directory) == ("other", tmp_path)


def test_a_cosine_does_not_depend_on_lengths() -> None:
    assert verification.cosines(3 * RIGHT, Reference([], RIGHT)) == pytest.approx(1.0)
    assert verification.cosines(-RIGHT, Reference([], RIGHT)) == pytest.approx(-1.0)


def test_vectors_of_another_width_are_of_another_model() -> None:
    with pytest.raises(SetupError, match="16 dimensions, the checkpoint's 8"):
        verification.cosines(RIGHT, Reference([], RIGHT[:, :8]))


@pytest.mark.parametrize(("value", "verdict"), [(0.998, True), (0.9979, False), (float("nan"), False)])
def test_every_vector_must_agree(value: float, verdict: bool) -> None:
    assert verification.agree(np.array([1.0, value])) is verdict


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served) -> Callable[..., Any]:
    reference = Reference([np.array([1, 2], dtype=np.int32)] * ROWS, RIGHT)
    monkeypatch.setattr(verification, "compute_reference", lambda _: reference)
    checkpoint = qwen3_checkpoint(tmp_path / "m")

    def run(*options: str) -> Any:
        arguments = ["verify", "--endpoint", served.url, "--checkpoint", str(checkpoint), *options]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})

    return run


def test_agreeing_vectors_are_shown_and_saved(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("--save", str(tmp_path / "golden.json"))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("1.00000") == ROWS
    assert "list[float]" in done.stdout
    golden = read_golden(tmp_path / "golden.json")
    assert (golden.model, len(golden.ids)) == ("first", ROWS)
    assert np.array_equal(golden.vectors, RIGHT)


def test_a_place_that_cannot_be_written_is_named(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command("--save", str(tmp_path / "nowhere" / "golden.json"))
    assert isinstance(done.exception, SetupError)
    assert "cannot be written" in done.exception.message


def test_one_vector_that_differs_fails_and_saves_nothing(
    command: Callable[..., Any], served: Served, tmp_path: Path
) -> None:
    wrong = RIGHT.copy()
    wrong[4] = wrong[5]
    served.vectors = wrong
    done = command("--save", str(tmp_path / "golden.json"))
    assert isinstance(done.exception, SetupError)
    assert done.stdout.count("1.00000") == ROWS - 1
    assert not (tmp_path / "golden.json").exists()
