from __future__ import annotations

import os

import pytest

from cluster.running.native_output import without_announcements

ANNOUNCED = b"[2026-11-22 10:00:00,000 I 1 1] logging.cc:303: Set ray log level from environment variable X to 3\n"


def test_rays_announcement_is_dropped_and_everything_else_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with without_announcements():
        os.write(2, ANNOUNCED + b"a library failed\n")
        assert capfd.readouterr().err == ""
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "a library failed\nafterwards\n"


def _fail() -> None:
    with without_announcements():
        os.write(2, b"the reason\n" + ANNOUNCED)
        raise RuntimeError


def test_what_a_block_wrote_before_it_failed_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        _fail()
    assert capfd.readouterr().err == "the reason\n"
