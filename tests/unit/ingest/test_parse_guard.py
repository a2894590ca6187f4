"""The process that files are parsed in: it is killed for real, by time, by memory and by a crash."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.parse import guard
from ingest.parse.guard import CHILD_ENVIRONMENT, GuardedParser
from ingest.parse.registry import parse
from ingest.records import Block, Document
from ingest.settings import ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError, SetupError

FILE = SourceFile("file:///a.txt", "/a.txt", "a.txt", "txt")
SETTINGS = ParseSettings(timeout_s=1.0, memory_mib=256)


def act(file: SourceFile, content: bytes, settings: ParseSettings) -> Document:
    """What the child runs in place of `parse`: the content says what is to happen."""
    what, _, argument = content.decode().partition(" ")
    return Document(file.uri, file.source_file, file.format, "title", (Block("text", ACTS[what](argument)),))


def hang(_: str) -> str:
    while True:
        time.sleep(0.01)


def fail(message: str) -> str:
    raise AssertionError(message)


def refuse(message: str) -> str:
    raise SetupError(message)


def turn_deaf(_: str) -> str:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    return hang("")


def start_another(path: str) -> str:
    with subprocess.Popen(["sleep", "60"]):
        Path(path).write_text(str(os.getpid()))
        return hang("")


ACTS: dict[str, Callable[[str], str]] = {
    "hang": hang,
    "turn_deaf": turn_deaf,
    "fill": lambda _: str(len(bytearray(1 << 30))),
    "segfault": lambda _: str(ctypes.string_at(0)),
    "raise": fail,
    "setup": refuse,
    "start": start_another,
    "pid": lambda _: str(os.getpid()),
    "environment": lambda _: " ".join(f"{key}={os.environ[key]}" for key in CHILD_ENVIRONMENT),
}


@contextmanager
def guarded(function: str = f"{__name__}:act", settings: ParseSettings = SETTINGS) -> Iterator[GuardedParser]:
    parser = GuardedParser(settings, function)
    try:
        yield parser
    finally:
        parser.close()


@pytest.fixture(scope="module")
def parser() -> Iterator[GuardedParser]:
    with guarded() as parser:
        yield parser


def told(parser: GuardedParser, what: str = "pid") -> str:
    return parser.parse(FILE, what.encode()).blocks[0].text


def reason(parser: GuardedParser, what: str) -> str:
    with pytest.raises(DocumentError) as caught:
        parser.parse(FILE, what.encode())
    return caught.value.reason


def test_a_guarded_file_is_parsed_as_any_other() -> None:
    content = "名称;价格\n水泵;3\n".encode("gb18030")
    file = replace(FILE, format="csv")
    with guarded("ingest.parse.registry:parse") as parser:
        assert parser.parse(file, content) == parse(file, content, SETTINGS)
        with pytest.raises(DocumentError, match="is empty") as caught:
            parser.parse(file, b"")
    assert caught.value.reason == "empty"


def test_one_process_of_its_own_parses_many_files(parser: GuardedParser) -> None:
    pid = told(parser)
    assert pid == told(parser) != str(os.getpid())


@pytest.mark.parametrize(
    ("what", "expected"),
    [("hang", "timeout"), ("fill", "too_large"), ("segfault", "crashed"), ("raise secret", "crashed")],
)
def test_what_kills_the_process_ends_one_file_and_not_the_next(parser: GuardedParser, what: str, expected: str) -> None:
    before = told(parser)
    assert reason(parser, what) == expected
    assert told(parser) != before


def test_the_process_ends_itself_so_that_it_needs_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_GRACE_S", 60.0)
    started = time.monotonic()
    with guarded() as parser:
        assert reason(parser, "hang") == "timeout"
    assert time.monotonic() - started < 30


def test_a_process_that_does_not_end_itself_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_GRACE_S", 0.2)
    with guarded() as parser:
        assert reason(parser, "turn_deaf") == "timeout"


def test_the_process_that_died_is_gone(parser: GuardedParser) -> None:
    pid = int(told(parser))
    assert reason(parser, "segfault") == "crashed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_setup_error_reaches_the_caller_as_one(parser: GuardedParser) -> None:
    with pytest.raises(SetupError, match="install it"):
        parser.parse(FILE, b"setup install it")


def test_a_traceback_does_not_hold_what_the_text_says(capfd: pytest.CaptureFixture[str]) -> None:
    with guarded() as parser:
        assert reason(parser, "raise secret") == "crashed"
    printed = capfd.readouterr().err
    assert "AssertionError" in printed
    assert "secret" not in printed


def test_libraries_are_told_to_stay_silent_before_they_are_imported(parser: GuardedParser) -> None:
    assert told(parser, "environment") == " ".join(f"{key}={value}" for key, value in CHILD_ENVIRONMENT.items())


def test_what_a_parser_has_started_dies_with_it(tmp_path: Path) -> None:
    with guarded() as parser:
        assert reason(parser, f"start {tmp_path / 'pid'}") == "timeout"
    group = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    with pytest.raises(ProcessLookupError):  # noqa: PT012
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)


def test_a_process_that_cannot_start_is_a_setup_error() -> None:
    with guarded("no.such.module:parse") as parser, pytest.raises(SetupError, match="memory_mib"):
        parser.parse(FILE, b"text")


def test_a_parser_that_was_closed_starts_again() -> None:
    with guarded() as parser:
        first = told(parser)
        parser.close()
        assert told(parser) != first
