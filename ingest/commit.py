"""A source is done when all of it is in the store: then what it no longer holds is deleted, and the ledger told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ingest.ledger.lease import Lease
from ingest.ledger.ledger import Ledger
from ingest.ledger.records import DeadLetter, SourceState
from ingest.receipts import Receipt, Trouble
from ingest.sinks.base import VectorSink
from ingest.sources.base import SourceFile
from ingest.target import Target

PASSING = frozenset({"missing", "unreadable", "timeout", "crashed", "not_embedded", "not_stored"})
MOST_TROUBLES = 1_000
NOT_STORED = "The store does not hold all that was written for this file; run again, and look at the store's own log."


@dataclass(slots=True)
class Expected:
    """A source on its way, as far as receipts have come."""

    file: SourceFile
    version: str
    units: int  # of work that it was divided into
    ended: int = 0
    chunks: int = 0
    arrived: int = 0
    problems: int = 0
    problems_arrived: int = 0
    keys: set[str] = field(default_factory=set)
    troubles: list[Trouble] = field(default_factory=list)  # the first ones: a corpus can have a bad row a line
    troubles_in_all: int = 0
    is_unread: bool = False  # at least one of its units could not be read, or not to its end
    is_stored: bool = False  # once it has been committed

    def add(self, receipt: Receipt) -> None:
        self.ended += receipt.units
        self.chunks += receipt.chunks
        self.arrived += receipt.arrived
        self.problems += receipt.problems
        self.problems_arrived += receipt.problems_arrived
        self.keys.update(receipt.keys)
        for trouble in receipt.troubles:
            self.add_trouble(trouble)

    def add_trouble(self, trouble: Trouble) -> None:
        self.troubles_in_all += 1
        if len(self.troubles) < MOST_TROUBLES:
            self.troubles.append(trouble)
        if trouble.stage == "parse" and (not trouble.part or trouble.reason in PASSING):
            self.is_unread = True

    @property
    def is_cut_short(self) -> bool:
        """It was read, but not to its end: what is missing may still be there."""
        return self.is_unread and bool(self.keys)

    @property
    def is_complete(self) -> bool:
        """Receipts come in any order: that of a unit's end may be there before those of what it came to."""
        has_all = self.arrived == self.chunks and self.problems_arrived == self.problems
        return self.ended == self.units and has_all


class Committer:
    """Writes the end of every source's story: new chunks verified, old ones deleted, ledger last.

    A crash between any two of these steps leaves something that the next run does again, with the same end.
    """

    def __init__(self, sink: VectorSink, ledger: Ledger, lease: Lease, target: Target, run_id: str) -> None:
        self._sink = sink
        self._ledger = ledger
        self._lease = lease
        self._physical = target.physical
        self._run_id = run_id
        self._was_empty = target.was_empty

    def commit(self, source: str, done: Expected) -> int:
        """Returns how many outdated chunks were deleted. Raises SetupError if the store or the ledger fails.

        Of a source that could be read only in part, or of which not all is stored, nothing is deleted, and it is not
        done: the next run begins it again. `done.is_stored` says whether it is.
        """
        self._lease.check()
        stored = self._stored(source, done)
        if not done.keys and not done.troubles:  # a corpus of blank lines, in parts of which none knows of the others
            done.add_trouble(Trouble("parse", "empty", f"{done.file.source_file} holds no rows."))
        if not done.keys <= stored:
            done.add_trouble(Trouble("write", "not_stored", NOT_STORED))
        done.is_stored = bool(done.keys) and done.keys <= stored and not done.is_cut_short
        if not done.is_stored:
            self._ledger.bury(self._lease, self._physical, self._letter(source, done))
            return 0
        outdated = stored - done.keys
        if outdated:
            self._sink.delete(self._physical, sorted(outdated))
        state = SourceState(
            source=source,
            version=done.version,
            root=done.file.root,
            size=done.file.size or 0,
            modified_ns=int(done.file.modified) if done.file.modified.isdigit() else 0,
            chunks=len(done.keys),
            run_id=self._run_id,
        )
        letter = self._letter(source, done) if done.troubles else None
        self._ledger.commit(self._lease, self._physical, state, letter)
        return len(outdated)

    def _stored(self, source: str, done: Expected) -> set[str]:
        """Keys that the store holds of the source. By key is cheap; by source, some stores look at all they have."""
        if self._was_empty:  # no earlier run has left anything outdated
            return set(self._sink.existing(self._physical, list(done.keys)))
        return self._sink.keys_of(self._physical, source)

    def prune(self, gone: tuple[str, ...]) -> int:
        """Delete what is stored of sources that are no longer there. Returns how many chunks it was."""
        removed = 0
        for source in gone:
            self._lease.check()
            keys = self._sink.keys_of(self._physical, source)
            if keys:
                self._sink.delete(self._physical, sorted(keys))
            self._ledger.forget(self._lease, self._physical, [source])
            removed += len(keys)
        return removed

    def _letter(self, source: str, done: Expected) -> DeadLetter:
        troubles, worst = done.troubles, done.troubles[0]
        more = f" ({done.troubles_in_all - 1} more.)" if done.troubles_in_all > 1 else ""
        now = time.time()
        return DeadLetter(
            collection=self._lease.collection,
            source=source,
            source_file=done.file.source_file,
            version=done.version,
            stage=worst.stage,
            reason=worst.reason,
            message=f"{worst.message}{more}",
            permanent=all(trouble.reason not in PASSING for trouble in troubles),
            root=done.file.root,
            chunk_keys=tuple(trouble.key for trouble in troubles if trouble.key),
            first_seen=now,
            last_seen=now,
        )
