"""The rows of the corpus evaluation: one line for each ingestion, each score and each store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks import rows
from benchmarks.rows import ROOT, Facts

RESULTS = ROOT / "benchmarks" / "results" / "evaluation.jsonl"
Kind = Literal["ingest", "score", "store"]
MEASURES = ("recall_1", "recall_5", "recall_10", "mrr", "ndcg")  # each with _low and _high beside it


@dataclass(frozen=True, slots=True)
class Row:
    """`labels` say what was measured, `figures` what came out.

    ingest: store, context; files, chunks, embedded, tokens, left_out, seconds.
    score: store, context, questions (which set), mode, dimensions ("" without vectors); count, unmatched, MEASURES.
    store: store; rows, upsert_rows_per_s, dense_p50_ms and, where the store can, bm25_p50_ms and hybrid_p50_ms.
    """

    facts: Facts
    kind: Kind
    labels: dict[str, str]
    figures: dict[str, float]

    def to_json(self) -> str:
        fields = asdict(self)
        return json.dumps(rows.rounded({**fields.pop("facts"), **fields}), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Raises ValueError, KeyError or TypeError for a line that is not a row."""
        fields: dict[str, Any] = json.loads(line)
        facts = Facts(**{name: fields.pop(name) for name in Facts.__dataclass_fields__})
        row = cls(facts=facts, **fields)
        if row.kind not in get_args(Kind):
            raise ValueError(f"There is no kind of row {row.kind!r}.")
        return row


def read(path: Path) -> list[Row]:
    """All rows, oldest first; none if there is no file."""
    return [Row.from_json(line) for line in rows.read_lines(path)]


def latest(found: Sequence[Row]) -> list[Row]:
    """The rows of the newest run that came to its end: its last rows are those of the stores."""
    runs = {row.facts.run for row in found if row.kind == "store"}
    return [row for row in found if row.facts.run == max(runs)] if runs else []
