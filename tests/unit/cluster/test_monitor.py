"""What `embedctl monitor` says when it cannot begin. The rest is tested on a real cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from cluster.monitoring import prometheus
from cluster.monitoring.prometheus import Scraped, endpoint_answers, local_prometheus
from serve_app.core.errors import SetupError
from tests.clusters import free_port

KEY = "sk-of-an-admin"


@pytest.fixture
def guarded() -> Iterator[str]:
    """An endpoint whose metrics want KEY."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.path == "/metrics" and self.headers["authorization"] == f"Bearer {KEY}"
            self.send_response(200 if allowed else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the test's standard error."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_endpoint_that_gives_its_metrics_answers(guarded: str) -> None:
    assert endpoint_answers(f"{guarded}/", KEY)


def test_an_endpoint_that_wants_another_key_is_one_sentence_without_the_key(guarded: str) -> None:
    with pytest.raises(SetupError, match=r"scope `admin`.*--key-env") as refused:
        endpoint_answers(guarded, "sk-of-nobody")
    assert "sk-of-nobody" not in refused.value.message


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "http://[", "nonsense"])
def test_an_endpoint_that_is_not_there_does_not_answer(address: str) -> None:
    assert not endpoint_answers(address.format(port=free_port()), "")


def test_a_missing_program_is_one_sentence_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "PROGRAM", "no-such-program")
    with (
        pytest.raises(SetupError, match="apt-get install prometheus"),
        local_prometheus(Scraped(["a:1"]), free_port()),
    ):
        pytest.fail("it cannot have begun")


def test_a_program_that_does_not_start_is_told_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "prometheus"
    program.write_text("#!/bin/sh\necho no disk left\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(prometheus, "PROGRAM", str(program))
    with pytest.raises(SetupError, match="did not start: no disk left"), local_prometheus(Scraped(["a:1"]), 0):
        pytest.fail("it cannot have begun")


def test_the_key_is_in_a_file_and_not_in_the_configuration(tmp_path: Path) -> None:
    config = prometheus._write(tmp_path, Scraped(["a:1"], "http://localhost:8000", KEY))
    assert KEY not in config.read_text()
    endpoint = yaml.safe_load(config.read_text())["scrape_configs"][1]
    assert Path(endpoint["authorization"]["credentials_file"]).read_text() == KEY
