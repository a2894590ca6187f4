from __future__ import annotations

import time
from io import StringIO

import pytest
from rich.console import Console

from ingest.progress import run_progress, telling
from ingest.report import IngestReport

LINE_EVERY_S = 0.02
DEADLINE_S = 10.0


def lines(log: StringIO) -> list[str]:
    return log.getvalue().splitlines()


def wait_for(log: StringIO, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(lines(log)) < count:
        assert time.monotonic() < deadline, log.getvalue()
        time.sleep(0.001)


def test_a_log_says_at_once_what_is_begun_and_goes_on_saying_it_until_it_ends() -> None:
    log = StringIO()
    with telling(Console(file=log, width=200), "building the indexes", LINE_EVERY_S):
        assert lines(log) == ["building the indexes"]
        wait_for(log, 3)
    told = lines(log)
    time.sleep(3 * LINE_EVERY_S)
    assert lines(log) == told
    assert set(told[1:]) == {"building the indexes, 0 s"}


def test_a_log_stays_silent_after_what_was_begun_has_failed() -> None:
    log = StringIO()
    with (
        pytest.raises(ValueError, match="broken"),
        telling(Console(file=log, width=200), "building the indexes", LINE_EVERY_S),
    ):
        raise ValueError("broken")
    time.sleep(3 * LINE_EVERY_S)
    assert lines(log) == ["building the indexes"]


def test_a_log_tells_now_and_then_and_at_the_end_how_far_the_files_are() -> None:
    log = StringIO()
    with run_progress(Console(file=log, width=200), 3_000, LINE_EVERY_S) as progress:
        wait_for(log, 1)
        progress.update(IngestReport(files=3_000, collection="c", settled=1_999, chunks=5_000))
    told = lines(log)
    assert told[0] == "0 of 3,000 files, 0 chunks, 0 s"
    assert told[-1] == "1,999 of 3,000 files, 5,000 chunks, 0 s"


def test_a_terminal_has_bars_and_no_lines() -> None:
    screen = StringIO()
    console = Console(file=screen, width=80, force_terminal=True)
    with run_progress(console, 3, 0.001):
        time.sleep(0.02)
    with telling(console, "building the indexes", 0.001):
        time.sleep(0.02)
    assert "0/3" in screen.getvalue()
    assert "0 of 3 files" not in screen.getvalue()
    assert "building the indexes, 0 s" not in screen.getvalue()
