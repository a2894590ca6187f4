"""What a run did: counted while it goes, told at the end as a table."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ingest.receipts import Receipt, Trouble
from ingest.sources.base import Skipped


@dataclass(slots=True)
class IngestReport:
    """Sums are kept while receipts come, because a large run has a receipt for every few chunks."""

    files: int
    collection: str
    physical: str = ""
    skipped: tuple[Skipped, ...] = ()
    unchanged: int = 0
    known_dead: int = 0  # not tried again: failed for good in this very version
    settled: int = 0  # files whose fate is known: stored, wholly or in part, or left out
    complete: int = 0  # of these, stored
    troubles: dict[str, list[Trouble]] = field(default_factory=dict)  # by file, for people; the first ones of each
    untold: dict[str, int] = field(default_factory=dict)  # by file, how many more there were
    chunks: int = 0
    expected_chunks: int = 0
    embedded: int = 0
    rewritten: int = 0
    tokens: int = 0
    removed: int = 0
    pruned: int = 0
    stored: int = 0  # chunks in the collection at the end
    gone: int = 0  # stored, no longer there, and left because nobody asked to prune
    pii: Counter[str] = field(default_factory=Counter)
    flip: str = ""  # in words, if searches have gone over to a rebuilt collection
    unflipped: str = ""  # or why they have not
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, receipt: Receipt) -> None:
        self.chunks += receipt.arrived
        self.expected_chunks += receipt.chunks
        self.embedded += receipt.embedded
        self.rewritten += receipt.rewritten
        self.tokens += receipt.tokens
        self.pii.update(receipt.pii)

    def finish(self) -> None:
        self.seconds = time.monotonic() - self.started

    @property
    def exit_code(self) -> int:
        """0 all files are in, 3 some were left out, now or before."""
        return 3 if self.troubles or self.known_dead or self.unflipped else 0

    def counts(self) -> dict[str, int]:
        """For the ledger."""
        names = ("files", "unchanged", "complete", "chunks", "embedded", "rewritten", "tokens", "removed", "pruned")
        return {**{name: getattr(self, name) for name in names}, "left_out": len(self.troubles)}

    def show(self, console: Console) -> None:
        table = Table(title="Ingestion", show_header=False, min_width=44)
        table.add_row("files", f"{self.complete + self.unchanged:,} of {self.files:,}")
        table.add_row("  unchanged, skipped", f"{self.unchanged:,}")
        table.add_row("chunks", f"{self.chunks:,}")
        table.add_row("  embedded now", f"{self.embedded:,}")
        table.add_row("  already there", f"{max(0, self.chunks - self.embedded - self._not_embedded):,}")
        table.add_row("  of these, updated", f"{self.rewritten:,}")
        table.add_row("  outdated, removed", f"{self.removed:,}")
        table.add_row("  pruned", f"{self.pruned:,}")
        table.add_row("  in the collection", f"{self.stored:,}")
        table.add_row("tokens embedded", f"{self.tokens:,}")
        table.add_row("time", f"{self.seconds:.1f} s")
        table.add_row("tokens/s", f"{self.tokens / self.seconds:,.0f}" if self.seconds else "-")
        table.add_row("left out", f"{len(self.troubles):,}")
        console.print(table)
        self._show_masked(console)
        self._show_left_out(console)
        if self.gone:
            console.print(f"{self.gone:,} stored files are no longer there; --prune removes them from the collection.")
        for words in filter(None, (self.flip, self.unflipped)):
            console.print(words, markup=False)

    @property
    def _not_embedded(self) -> int:
        return sum(trouble.stage == "embed" for troubles in self.troubles.values() for trouble in troubles)

    def _show_masked(self, console: Console) -> None:
        if self.pii:
            found = ", ".join(f"{entity} {number:,}" for entity, number in sorted(self.pii.items()))
            console.print(f"Personal data found: {found}", markup=False)

    def _show_left_out(self, console: Console) -> None:
        for reason in sorted({file.reason for file in self.skipped}):
            names = ", ".join(file.name for file in self.skipped if file.reason == reason)
            console.print(f"Skipped ({reason}): {names}", markup=False)
        if self.known_dead:
            console.print(
                f"{self.known_dead:,} files failed before in this version and were not tried: "
                f"`embedctl dlq list --collection {self.collection}` says why.",
                markup=False,
            )
        if not self.troubles:
            return
        table = Table("file", "reason", "what to do", title="Left out")
        for name, troubles in sorted(self.troubles.items()):
            more = len(troubles) - 1 + self.untold.get(name, 0)
            message = troubles[0].message + (f" ({more:,} more)" if more else "")
            table.add_row(escape(name), escape(troubles[0].reason), escape(message))
        console.print(table)
