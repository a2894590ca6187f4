from __future__ import annotations

from collections import Counter
from io import StringIO

from rich.console import Console

from ingest.receipts import Receipt, Trouble
from ingest.report import IngestReport
from ingest.sources.base import Skipped


def shown(report: IngestReport) -> str:
    out = StringIO()
    report.show(Console(file=out, width=200))
    return out.getvalue()


def test_sums_grow_with_every_receipt() -> None:
    report = IngestReport(files=1, collection="c")
    report.add(Receipt("file:///a", "a", 0, 0, 2, ["x", "y"], embedded=2, tokens=10, pii={"EMAIL": 1}))
    report.add(Receipt("file:///a", "a", 1, 3, 1, ["z"], rewritten=1, pii={"EMAIL": 2}))
    assert (report.chunks, report.expected_chunks, report.embedded, report.rewritten, report.tokens) == (3, 3, 2, 1, 10)
    assert report.pii == Counter({"EMAIL": 3})


def test_names_and_messages_are_shown_as_they_are_and_not_read_as_markup() -> None:
    report = IngestReport(files=1, collection="c", skipped=(Skipped("[red]x.png", "not a document format"),))
    report.troubles["report[/bold].pdf"] = [Trouble("parse", "corrupt", "Damaged [/] file.")]
    text = shown(report)
    assert "report[/bold].pdf" in text
    assert "Damaged [/] file." in text
    assert "[red]x.png" in text


def test_every_skipped_file_is_told_with_its_own_reason() -> None:
    skipped = (Skipped("a.png", "not a document format"), Skipped("b.md", "a link"), Skipped("c.png", "a link"))
    lines = shown(IngestReport(files=0, collection="c", skipped=skipped)).splitlines()
    assert "Skipped (a link): b.md, c.png" in lines
    assert "Skipped (not a document format): a.png" in lines


def test_the_exit_code_says_whether_anything_is_left_out_now_or_since_before() -> None:
    fine, now, before = (IngestReport(files=1, collection="c") for _ in range(3))
    now.troubles["a.pdf"] = [Trouble("parse", "corrupt", "It is damaged.")]
    before.known_dead = 1
    assert [report.exit_code for report in (fine, now, before)] == [0, 3, 3]


def test_passages_that_could_not_be_embedded_do_not_count_as_already_there() -> None:
    report = IngestReport(files=1, collection="c")
    report.add(Receipt("file:///a", "a", 1, 3, 3, ["x", "y"], embedded=2))
    report.troubles["a"] = [Trouble("embed", "not_embedded", "No vector.", key="z")]
    line = next(line for line in shown(report).splitlines() if "already there" in line)
    assert line.split("│")[2].strip() == "0"


def test_many_troubles_of_one_file_are_one_line() -> None:
    report = IngestReport(files=1, collection="c")
    report.troubles["rows.jsonl"] = [Trouble("parse", "bad_row", f"Row {row}.", str(row)) for row in range(3)]
    assert "Row 0. (2 more)" in shown(report)
    report.untold["rows.jsonl"] = 5_000  # of which only the number is kept
    assert "Row 0. (5,002 more)" in shown(report)
