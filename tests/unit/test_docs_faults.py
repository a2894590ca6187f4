"""Every fault in docs/faults.md names a test that there is, and every chaos test is in its table."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines() if "| `test_" in line]
NAMED = [name for row in ROWS for name in re.findall(r"`(test_\w+)`", row)]


def names_in(folder: str) -> set[str]:
    files = (ROOT / "tests" / folder).glob("test_*.py")
    return {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)}


def test_every_row_names_one_test_and_no_test_is_named_twice() -> None:
    assert len(NAMED) == len(ROWS) == len(set(NAMED)) > 0


def test_every_test_that_the_page_names_exists() -> None:
    assert set(NAMED) <= names_in("chaos") | names_in("resilience")


def test_every_chaos_test_has_its_row() -> None:
    assert names_in("chaos") <= set(NAMED)
