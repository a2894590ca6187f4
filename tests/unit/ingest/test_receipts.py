from __future__ import annotations

import json
from typing import Any

from ingest.receipts import Receipt, Trouble, receipts_table
from ingest.rows import CHUNK, EMBEDDED, END, FAILED, FATE, KEPT, PROBLEM, REWRITTEN


def row(kind: str, source: str = "file:///a", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("stage", "reason", "message", "part", "key", "tokens", "chunks", "pii", FATE))
    return {**empty, "problems": 0, "kind": kind, "source": source, "source_file": source[-1], **more}


def receipts(*rows: dict[str, Any]) -> list[Receipt]:
    return [Receipt.from_json(text) for text in receipts_table(rows).column("receipt").to_pylist()]


def test_a_receipt_counts_what_became_of_each_chunk() -> None:
    fates = {"k": KEPT, "r": REWRITTEN, "e": EMBEDDED, "f": FAILED}
    (receipt,) = receipts(*(row(CHUNK, key=key, tokens=5, **{FATE: fate}) for key, fate in fates.items()))
    assert (receipt.arrived, receipt.embedded, receipt.rewritten, receipt.tokens) == (4, 1, 1, 5)
    assert receipt.keys == ["k", "r", "e"]
    (trouble,) = receipt.troubles
    assert (trouble.stage, trouble.reason, trouble.key) == ("embed", "not_embedded", "f")


def test_the_end_of_a_unit_says_what_it_came_to() -> None:
    (receipt,) = receipts(
        row(END, chunks=7, problems=3, pii=json.dumps({"EMAIL": 2})),
        row(END, chunks=1, problems=1, pii=json.dumps({"EMAIL": 1})),
    )
    assert (receipt.units, receipt.chunks, receipt.arrived) == (2, 8, 0)
    assert (receipt.problems, receipt.problems_arrived) == (4, 0)
    assert receipt.pii == {"EMAIL": 3}


def test_every_source_in_a_batch_has_its_own_receipt() -> None:
    one, other = receipts(row(CHUNK, "file:///a", key="x", **{FATE: KEPT}), row(END, "file:///b", chunks=0, pii="{}"))
    assert (one.source, one.arrived, other.source, other.units) == ("file:///a", 1, "file:///b", 1)


def test_a_problem_comes_with_its_stage_and_record() -> None:
    (receipt,) = receipts(row(PROBLEM, stage="parse", reason="bad_row", message="No text.", part="7"))
    assert receipt.troubles == [Trouble("parse", "bad_row", "No text.", "7")]
    assert receipt.problems_arrived == 1
    assert receipt.keys == []
