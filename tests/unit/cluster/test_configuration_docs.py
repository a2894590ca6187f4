"""docs/configuration.md says what the code does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from cluster import presets
from cluster.config import ClusterConfig
from cluster.plan import estimates, sizing
from cluster.plan.gpus import GPUS
from tests.unit.cluster.configuration_tables import PAGE, tables, written

TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def rows(header: str) -> list[list[str]]:
    """The cells of the table that begins with this header cell."""
    lines = TEXT.partition(f"| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_tables_of_keys_are_those_of_the_code() -> None:
    again = "python -m tests.unit.cluster.configuration_tables"
    assert written() == tables(), f"write them anew: {again}"


def test_the_table_of_gpus_is_the_codes() -> None:
    assert rows("gpu") == [
        [
            name,
            kind.title,
            f"{kind.memory_gib:g}",
            "no" if kind.bf16_tflops is None else f"{kind.bf16_tflops:g}",
            f"{kind.bandwidth_gb_s:g}",
            "yes" if kind.has_fp8 else "no",
            f"{kind.price_per_hour:g}",
        ]
        for name, kind in GPUS.items()
    ]


def test_the_assumptions_are_the_codes() -> None:
    constants: dict[str, Any] = {**vars(estimates), **vars(sizing)}
    said = {name: float(value.replace(",", "")) for name, value, *_ in rows("assumption")}
    assert len(said) > 10
    assert said == {name: constants[name] for name in said}


def test_every_preset_is_named() -> None:
    assert [name for name, *_ in rows("preset")] == presets.names()


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_valid(text: str) -> None:
    assert ClusterConfig.model_validate(yaml.safe_load(text))
