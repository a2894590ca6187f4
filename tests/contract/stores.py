"""The stores that the contract runs against, and in what they differ: measured by the tests, shown in docs/sinks.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Measured:
    """Each field is a row of the documented table, and each is checked by a contract test."""

    full_text: bool  # BM25 alone and hybrid search
    longest_text_bytes: int | None  # None: longer than any chunk
    longest_tenant_bytes: int | None
    exact_above_2000_dimensions: bool  # float32 comes back as it went in; else within 1e-3 of a unit vector


MEASURED = {
    "milvus-lite": Measured(
        full_text=True, longest_text_bytes=65_535, longest_tenant_bytes=256, exact_above_2000_dimensions=True
    ),
    "milvus-2.3": Measured(
        full_text=False, longest_text_bytes=65_535, longest_tenant_bytes=256, exact_above_2000_dimensions=True
    ),
    "pgvector": Measured(
        full_text=True, longest_text_bytes=None, longest_tenant_bytes=None, exact_above_2000_dimensions=False
    ),
}


def _milvus_lite(request: pytest.FixtureRequest) -> str:
    folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("store")
    return f"milvus-lite:{folder / 'lite'}"


def _milvus(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("milvus_uri"))


def _pgvector(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("postgres_uri"))


# Readable id → the URI of a store of its own. A store starts when its first test runs.
STORES: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "milvus-lite": _milvus_lite,
    "milvus-2.3": _milvus,
    "pgvector": _pgvector,
}


def table() -> str:
    """`MEASURED` as the Markdown table of docs/sinks.md."""
    lines = [f"| measured | {' | '.join(MEASURED)} |", "|---" * (len(MEASURED) + 1) + "|"]
    for field in fields(Measured):
        values = [_shown(getattr(measured, field.name)) for measured in MEASURED.values()]
        lines.append(f"| {field.name.replace('_', ' ')} | {' | '.join(values)} |")
    return "\n".join(lines)


def _shown(value: bool | int | None) -> str:
    if value is None:
        return "no limit"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:,}"
