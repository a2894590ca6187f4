"""How far a run is: bars on a terminal, and in a log, which has none, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ingest.beat import beating
from ingest.report import IngestReport

LINE_EVERY_S = 30.0


@contextmanager
def run_progress(console: Console, files: int, every_s: float = LINE_EVERY_S) -> Iterator[RunProgress]:
    """Of the work on so many files, which is the block."""
    progress = RunProgress(console, files)
    if console.is_terminal:
        with progress.bars:
            yield progress
        return
    with beating(progress.tell, every_s):
        yield progress
    progress.tell()


class RunProgress:
    """Files whose chunks are all stored, and chunks."""

    def __init__(self, console: Console, files: int) -> None:
        self.bars = Progress(
            TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._files = self.bars.add_task("files", total=files)
        self._chunks = self.bars.add_task("chunks", total=None)

    def update(self, report: IngestReport) -> None:
        self.bars.update(self._files, completed=report.settled)
        self.bars.update(self._chunks, completed=report.chunks, total=max(report.expected_chunks, report.chunks))

    def tell(self) -> None:
        """The bars in a line."""
        files, chunks = self.bars.tasks
        known = f"{files.completed:,.0f} of {files.total:,.0f} files, {chunks.completed:,.0f} chunks"
        self.bars.console.print(f"{known}, {files.elapsed or 0:.0f} s", highlight=False)


@contextmanager
def telling(console: Console, what: str, every_s: float = LINE_EVERY_S) -> Iterator[None]:
    """That the block, of which nobody knows how far it is, has begun and still goes on; `what` is in words."""
    if console.is_terminal:
        with console.status(what):
            yield
        return
    started = time.monotonic()

    def tell() -> None:
        console.print(f"{what}, {time.monotonic() - started:.0f} s", highlight=False)

    console.print(what, highlight=False)
    with beating(tell, every_s):
        yield
