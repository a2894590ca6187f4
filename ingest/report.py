"""What a run did: counted while it goes, shown as bars, told at the end as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ingest.discover import Skipped


@dataclass(frozen=True, slots=True)
class Receipt:
    """One batch's part of one file, after it is safely in the sink; or why the file was left out."""

    source: str  # identity
    source_file: str  # for people
    chunks_in_file: int
    keys: Sequence[str]
    embedded: int
    tokens: int
    reason: str | None = None
    message: str | None = None


@dataclass(slots=True)
class IngestReport:
    """Sums are kept while receipts come, because a large run has a receipt for every few chunks."""

    files: int
    skipped: tuple[Skipped, ...] = ()
    keys: dict[str, set[str]] = field(default_factory=dict)  # of every source, as far as receipts have come
    expected: dict[str, int] = field(default_factory=dict)  # source → chunks
    complete: set[str] = field(default_factory=set)  # sources whose every chunk has been acknowledged by the sink
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)  # file, for people → (reason, message)
    chunks: int = 0
    expected_chunks: int = 0
    embedded: int = 0
    tokens: int = 0
    removed: int = 0
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, receipt: Receipt) -> None:
        if receipt.reason is not None:
            self.failures[receipt.source_file] = (receipt.reason, receipt.message or "")
        if receipt.reason is not None and not receipt.keys:
            return
        keys = self.keys.setdefault(receipt.source, set())
        known = len(keys)
        keys.update(receipt.keys)
        self.chunks += len(keys) - known
        self.expected_chunks += receipt.chunks_in_file - self.expected.get(receipt.source, 0)
        self.expected[receipt.source] = receipt.chunks_in_file
        if len(keys) == receipt.chunks_in_file:
            self.complete.add(receipt.source)
        self.embedded += receipt.embedded
        self.tokens += receipt.tokens

    def finish(self) -> None:
        self.seconds = time.monotonic() - self.started

    @property
    def exit_code(self) -> int:
        """0 all files are in, 3 some were left out."""
        return 3 if self.failures else 0

    def show(self, console: Console) -> None:
        table = Table(title="Ingestion", show_header=False, min_width=44)
        table.add_row("files", f"{len(self.complete)} of {self.files}")
        table.add_row("chunks", f"{self.chunks:,}")
        table.add_row("  embedded now", f"{self.embedded:,}")
        table.add_row("  already there", f"{self.chunks - self.embedded:,}")
        table.add_row("  outdated, removed", f"{self.removed:,}")
        table.add_row("tokens embedded", f"{self.tokens:,}")
        table.add_row("time", f"{self.seconds:.1f} s")
        table.add_row("tokens/s", f"{self.tokens / self.seconds:,.0f}" if self.seconds else "-")
        table.add_row("errors", f"{len(self.failures)}")
        console.print(table)
        self._show_left_out(console)

    def _show_left_out(self, console: Console) -> None:
        for reason in sorted({file.reason for file in self.skipped}):
            names = ", ".join(file.name for file in self.skipped if file.reason == reason)
            console.print(f"Skipped ({reason}): {names}", markup=False)
        if not self.failures:
            return
        table = Table("file", "reason", "what to do", title="Left out")
        for name, (reason, message) in sorted(self.failures.items()):
            table.add_row(escape(name), escape(reason), escape(message))
        console.print(table)


class RunProgress:
    """Two bars: files whose chunks are all stored, and chunks."""

    def __init__(self, console: Console, files: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._files = self._progress.add_task("files", total=files)
        self._chunks = self._progress.add_task("chunks", total=None)

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, report: IngestReport) -> None:
        self._progress.update(self._files, completed=len(report.complete) + len(report.failures))
        self._progress.update(self._chunks, completed=report.chunks, total=report.expected_chunks)
