"""What the last stage tells the driver: of every batch, what became of each source's part of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ingest.ledger.records import DeadStage
from ingest.rows import CHUNK, EMBEDDED, END, FAILED, FATE, PROBLEM, REWRITTEN

NOT_EMBEDDED = (
    "not_embedded",
    "The engine gives no usable vector for a passage of this file; its other passages are stored.",
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something of a source is left out; `part` names the record of a corpus."""

    stage: DeadStage
    reason: str
    message: str
    part: str = ""
    key: str = ""  # of the chunk, where it got that far


@dataclass(frozen=True, slots=True)
class Receipt:
    """One batch's part of one source, after it is safely in the store."""

    source: str  # identity
    source_file: str  # for people
    units: int  # of its units of work, those whose end was in the batch
    chunks: int  # that those units came to
    arrived: int  # chunks in the batch
    keys: Sequence[str] = ()  # of the chunks that are stored now
    embedded: int = 0
    rewritten: int = 0
    tokens: int = 0  # embedded
    pii: Mapping[str, int] = field(default_factory=dict)
    troubles: Sequence[Trouble] = ()
    problems: int = 0  # that those units came to
    problems_arrived: int = 0  # in the batch

    def to_json(self) -> str:
        columns = {name: getattr(self, name) for name in self.__slots__}
        columns["troubles"] = [[getattr(trouble, name) for name in Trouble.__slots__] for trouble in self.troubles]
        return json.dumps(columns)

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        columns: dict[str, Any] = json.loads(text)
        columns["troubles"] = [Trouble(*trouble) for trouble in columns["troubles"]]
        return cls(**columns)


def receipts_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of one column, `receipt`, for the rows of one batch (without vectors)."""
    by_source: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row)
    return pa.table({"receipt": [_receipt(own).to_json() for own in by_source.values()]})


def _receipt(rows: Sequence[Mapping[str, Any]]) -> Receipt:
    ends = [row for row in rows if row["kind"] == END]
    chunks = [row for row in rows if row["kind"] == CHUNK]
    fresh = [row for row in chunks if row[FATE] == EMBEDDED]
    pii: dict[str, int] = defaultdict(int)
    for end in ends:
        for entity, number in json.loads(end["pii"]).items():
            pii[entity] += number
    return Receipt(
        source=rows[0]["source"],
        source_file=rows[0]["source_file"],
        units=len(ends),
        chunks=sum(row["chunks"] for row in ends),
        arrived=len(chunks),
        keys=[row["key"] for row in chunks if row[FATE] != FAILED],
        embedded=len(fresh),
        rewritten=sum(row[FATE] == REWRITTEN for row in chunks),
        tokens=sum(row["tokens"] for row in fresh),
        pii=pii,
        troubles=[trouble for row in rows for trouble in _troubles(row)],
        problems=sum(row["problems"] for row in ends),
        problems_arrived=sum(row["kind"] == PROBLEM for row in rows),
    )


def _troubles(row: Mapping[str, Any]) -> list[Trouble]:
    if row["kind"] == PROBLEM:
        return [Trouble(row["stage"], row["reason"], row["message"], row["part"] or "")]
    if row["kind"] == CHUNK and row[FATE] == FAILED:
        return [Trouble("embed", *NOT_EMBEDDED, row["part"] or "", row["key"])]
    return []
