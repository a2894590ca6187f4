from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from cluster import verify
from cluster.cli import app
from cluster.config import ClusterConfig
from cluster.verify import DOCUMENTS, QUESTION, TASK, Endpoint, Reference, checkpoint_of
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors
from serve_app.model.checkpoint import read_profile
from serve_app.model.golden import read_golden
from serve_app.settings import ModelSettings
from tests.unit.serve_app.checkpoints import bert_checkpoint, qwen3_checkpoint

ROWS = len(DOCUMENTS) + 1
RIGHT: Vectors = np.random.default_rng(3).standard_normal((ROWS, 16)).astype(np.float32)


class Server:
    """Answers the way the endpoint does, with given vectors, and keeps what it was asked."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.asked: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []

    def __call__(self, method: str, url: str, **options: Any) -> httpx.Response:
        assert url.startswith("http://x/v1/")
        self.authorizations.append(options["headers"].get("Authorization"))
        if method == "GET":
            return httpx.Response(200, json={"data": [{"id": "first"}, {"id": "second"}]})
        body = options["json"]
        self.asked.append(body)
        rows = self.vectors[:-1] if isinstance(body["input"], list) else self.vectors[-1:]
        items = [
            {"index": index, "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()}
            for index, row in enumerate(rows)
        ]
        return httpx.Response(200, json={"data": items[::-1]})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Vectors], Server]:
    def start(vectors: Vectors) -> Server:
        server = Server(vectors)
        monkeypatch.setattr(httpx, "request", server)
        return server

    return start


def test_the_vectors_come_in_the_order_of_the_texts(serve: Callable[[Vectors], Server]) -> None:
    server = serve(RIGHT)
    assert np.array_equal(Endpoint("http://x", "").vectors("m", has_instruction=True), RIGHT)
    documents, question = server.asked
    assert (documents["model"], documents["input"]) == ("m", list(DOCUMENTS))
    assert (question["input"], question["input_type"], question["instruction"]) == (QUESTION, "query", TASK)


def test_a_model_without_instructions_is_asked_without_one(serve: Callable[[Vectors], Server]) -> None:
    server = serve(RIGHT)
    Endpoint("http://x", "").vectors("m", has_instruction=False)
    assert "instruction" not in server.asked[1]


def test_the_key_is_sent_and_only_if_there_is_one(serve: Callable[[Vectors], Server]) -> None:
    server = serve(RIGHT)
    Endpoint("http://x", "ek_1").served_model("")
    Endpoint("http://x", "").served_model("")
    assert server.authorizations == ["Bearer ek_1", None]


def test_without_a_name_the_first_model_is_meant(serve: Callable[[Vectors], Server]) -> None:
    serve(RIGHT)
    assert Endpoint("http://x", "").served_model("") == "first"
    assert Endpoint("http://x", "").served_model("mine") == "mine"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, json={"error": {"message": "The API key is not a valid one"}}), "not a valid one"),
        (httpx.Response(502, text="Bad gateway"), "HTTP 502"),
        (httpx.Response(200, text="hello"), "not JSON"),
        (httpx.Response(200, json={"data": [{"index": 0}]}), "cannot be read"),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": "AAAAAA=="}]}), "one vector a text"),
    ],
)
def test_an_answer_that_is_no_embedding_is_explained(
    monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, said: str
) -> None:
    monkeypatch.setattr(httpx, "request", lambda *_, **__: answer)
    with pytest.raises(SetupError, match=said):
        Endpoint("http://x", "").vectors("m", has_instruction=True)


def test_the_question_is_written_as_the_model_card_wants_it(tmp_path: Path) -> None:
    profile = read_profile(ModelSettings(path="x"), qwen3_checkpoint(tmp_path))
    assert verify.question(profile) == f"Instruct: {TASK}\nQuery:{QUESTION}"


def test_a_model_without_a_query_format_gets_the_bare_question(tmp_path: Path) -> None:
    profile = read_profile(ModelSettings(path="x"), bert_checkpoint(tmp_path))
    assert verify.question(profile) == QUESTION


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
    assert verify.cosines(3 * RIGHT, Reference([], RIGHT)) == pytest.approx(1.0)
    assert verify.cosines(-RIGHT, Reference([], RIGHT)) == pytest.approx(-1.0)


def test_vectors_of_another_width_are_of_another_model() -> None:
    with pytest.raises(SetupError, match="16 dimensions, the checkpoint's 8"):
        verify.cosines(RIGHT, Reference([], RIGHT[:, :8]))


@pytest.mark.parametrize(("value", "verdict"), [(0.998, True), (0.9979, False), (float("nan"), False)])
def test_every_vector_must_agree(value: float, verdict: bool) -> None:
    assert verify.agree(np.array([1.0, value])) is verdict


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    reference = Reference([np.array([1, 2], dtype=np.int32)] * ROWS, RIGHT)
    monkeypatch.setattr(verify, "compute_reference", lambda _: reference)
    checkpoint = qwen3_checkpoint(tmp_path / "m")

    def run(*options: str) -> Any:
        arguments = ["verify", "--endpoint", "http://x", "--checkpoint", str(checkpoint), *options]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})

    return run


def test_agreeing_vectors_are_shown_and_saved(
    command: Callable[..., Any], serve: Callable[[Vectors], Server], tmp_path: Path
) -> None:
    serve(RIGHT)
    done = command("--save", str(tmp_path / "golden.json"))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("1.00000") == ROWS
    assert "list[float]" in done.stdout
    golden = read_golden(tmp_path / "golden.json")
    assert (golden.model, len(golden.ids)) == ("first", ROWS)
    assert np.array_equal(golden.vectors, RIGHT)


def test_a_place_that_cannot_be_written_is_named(
    command: Callable[..., Any], serve: Callable[[Vectors], Server], tmp_path: Path
) -> None:
    serve(RIGHT)
    done = command("--save", str(tmp_path / "nowhere" / "golden.json"))
    assert isinstance(done.exception, SetupError)
    assert "cannot be written" in done.exception.message


def test_one_vector_that_differs_fails_and_saves_nothing(
    command: Callable[..., Any], serve: Callable[[Vectors], Server], tmp_path: Path
) -> None:
    wrong = RIGHT.copy()
    wrong[4] = wrong[5]
    serve(wrong)
    done = command("--save", str(tmp_path / "golden.json"))
    assert isinstance(done.exception, SetupError)
    assert done.stdout.count("1.00000") == ROWS - 1
    assert not (tmp_path / "golden.json").exists()
