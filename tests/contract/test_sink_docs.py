from __future__ import annotations

from pathlib import Path

from tests.contract.stores import MEASURED, STORES, table

DOCS = Path(__file__).parents[2] / "docs" / "sinks.md"


def test_the_documented_differences_are_those_that_the_contract_measures() -> None:
    assert table() in DOCS.read_text(encoding="utf-8")


def test_every_store_that_is_tested_has_its_measured_differences() -> None:
    assert STORES.keys() == MEASURED.keys()
