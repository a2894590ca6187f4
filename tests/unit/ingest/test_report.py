from __future__ import annotations

from io import StringIO

from rich.console import Console

from ingest.discover import Skipped
from ingest.report import IngestReport, Receipt


def receipt(source: str, chunks_in_file: int, *keys: str) -> Receipt:
    return Receipt(f"file:///{source}", "README.md", chunks_in_file, keys, embedded=len(keys), tokens=10)


def refusal(name: str, message: str) -> Receipt:
    return Receipt(f"file:///{name}", name, 0, (), 0, 0, "corrupt", message)


def shown(report: IngestReport) -> str:
    out = StringIO()
    report.show(Console(file=out, width=200))
    return out.getvalue()


def test_a_file_is_complete_when_its_last_chunk_is_acknowledged() -> None:
    report = IngestReport(files=2)
    report.add(receipt("hr", 3, "a", "b"))
    assert (report.complete, report.chunks, report.expected_chunks) == (set(), 2, 3)
    report.add(receipt("hr", 3, "c"))
    assert (report.complete, report.chunks, report.expected_chunks) == ({"file:///hr"}, 3, 3)


def test_two_files_of_one_name_are_counted_apart() -> None:
    report = IngestReport(files=2)
    report.add(receipt("hr", 1, "a"))
    report.add(receipt("it", 2, "b"))
    assert report.keys == {"file:///hr": {"a"}, "file:///it": {"b"}}
    assert report.complete == {"file:///hr"}


def test_a_receipt_that_comes_twice_counts_its_chunks_once() -> None:
    report = IngestReport(files=1)
    report.add(receipt("hr", 2, "a"))
    report.add(receipt("hr", 2, "a"))
    assert (report.complete, report.chunks, report.expected_chunks) == (set(), 1, 2)


def test_names_and_messages_are_shown_as_they_are_and_not_read_as_markup() -> None:
    report = IngestReport(files=1, skipped=(Skipped("[red]x.png", "not a document format"),))
    report.add(refusal("report[/bold].pdf", "Damaged [/] file."))
    text = shown(report)
    assert "report[/bold].pdf" in text
    assert "Damaged [/] file." in text
    assert "[red]x.png" in text
    assert report.exit_code == 3


def test_every_skipped_file_is_told_with_its_own_reason() -> None:
    skipped = (Skipped("a.png", "not a document format"), Skipped("b.md", "a link"), Skipped("c.png", "a link"))
    lines = shown(IngestReport(files=0, skipped=skipped)).splitlines()
    assert "Skipped (a link): b.md, c.png" in lines
    assert "Skipped (not a document format): a.png" in lines


def test_a_file_with_a_passage_that_failed_counts_the_others_and_is_never_complete() -> None:
    report = IngestReport(files=1)
    report.add(Receipt("file:///hr", "README.md", 3, ["a"], 1, 10, "not_embedded", "No vector."))
    report.add(receipt("hr", 3, "b"))
    assert (report.chunks, report.embedded, report.complete) == (2, 2, set())
    assert report.failures == {"README.md": ("not_embedded", "No vector.")}


def test_a_file_that_could_not_be_read_has_no_chunks_and_is_not_complete() -> None:
    report = IngestReport(files=1)
    report.add(refusal("a.pdf", "It is damaged."))
    assert (report.chunks, report.expected_chunks, report.complete) == (0, 0, set())
