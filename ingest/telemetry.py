"""What a run tells a monitoring system: through Ray's metrics, under the collection's name. Never a text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from ingest.beat import beating
from ingest.ledger.records import Run
from ingest.receipts import Receipt
from ingest.report import IngestReport
from serve_app.telemetry import metrics
from serve_app.telemetry.recorder import Recorder

BEAT_S = 5.0  # Ray forgets a gauge that is not repeated within 20 s, and one batch can take minutes
DONE = "done"  # how the status of every run that came to its end begins


class RunTelemetry:
    """Turns what the report has summed up so far into counters and gauges of one collection."""

    def __init__(self, collection: str, recorder: Recorder, clock: Callable[[], float] = time.time) -> None:
        self._collection = collection
        self._recorder = recorder
        self._clock = clock
        self._started = clock()
        self._todo = self._settled = self._complete = self._dead = self._removed = 0
        recorder.set(metrics.INGEST_PROGRESS_SECONDS, self._started, collection)

    def remember(self, runs: Sequence[Run]) -> None:
        """Tell how the runs before ended. `runs`: this one and earlier ones, newest first."""
        if any(run.status == "interrupted" for run in runs[1:2]):  # it was killed, and could not say so itself
            self._count(metrics.INGEST_RUNS, 1, "interrupted")
        ends = (run.finished for run in runs if run.finished is not None and run.status.startswith(DONE))
        last = next(ends, None)
        if last is not None:
            self._recorder.set(metrics.INGEST_SUCCESS_SECONDS, last, self._collection)

    def plan(self, todo: int, report: IngestReport) -> None:
        """`todo`: files to work on; the report knows of those that need none."""
        self._todo = todo
        self._recorder.set(metrics.INGEST_PENDING_FILES, todo, self._collection)
        self._count(metrics.INGEST_FILES, report.unchanged, "unchanged")
        self._count(metrics.INGEST_FILES, report.known_dead, "known_dead")

    def take(self, receipt: Receipt, report: IngestReport) -> None:
        """After the report and the ledger have taken it."""
        failed = sum(trouble.stage == "embed" for trouble in receipt.troubles)
        self._count(metrics.INGEST_CHUNKS, receipt.embedded, "embedded")
        self._count(metrics.INGEST_CHUNKS, max(0, receipt.arrived - receipt.embedded - failed), "kept")
        self._count(metrics.INGEST_CHUNKS, failed, "failed")
        self._count(metrics.INGEST_TOKENS, receipt.tokens)
        self._files(report)
        self._recorder.set(metrics.INGEST_PROGRESS_SECONDS, self._clock(), self._collection)

    def finish(self, report: IngestReport, outcome: str) -> None:
        """`outcome`: `done`, `partial` (some files were left out) or `failed`."""
        now = self._clock()
        self._files(report)
        self._count(metrics.INGEST_RUNS, 1, outcome)
        self._count(metrics.INGEST_RUN_SECONDS, max(0.0, now - self._started))
        if outcome != "failed":
            self._recorder.set(metrics.INGEST_SUCCESS_SECONDS, now, self._collection)
        self._recorder.flush()

    def _files(self, report: IngestReport) -> None:
        stored, settled = report.complete - self._complete, report.settled - self._settled
        self._count(metrics.INGEST_FILES, stored, "stored")
        self._count(metrics.INGEST_FILES, settled - stored, "left_out")
        self._count(metrics.INGEST_CHUNKS, report.removed + report.pruned - self._removed, "removed")
        for troubles in islice(report.troubles.values(), self._dead, None):
            self._count(metrics.INGEST_DEAD_LETTERS, 1, troubles[0].reason)
        self._complete, self._settled, self._dead = report.complete, report.settled, len(report.troubles)
        self._removed = report.removed + report.pruned
        self._recorder.set(metrics.INGEST_PENDING_FILES, max(0, self._todo - report.settled), self._collection)

    def _count(self, metric: metrics.Metric, amount: float, *more: str) -> None:
        if amount > 0:
            self._recorder.inc(metric, amount, self._collection, *more)


@contextmanager
def run_telemetry(
    collection: str, runs: Sequence[Run], report: IngestReport, beat_s: float = BEAT_S
) -> Iterator[RunTelemetry]:
    """Telemetry of the run that the block is. It goes to Ray's metrics if this process is connected to Ray."""
    import ray

    from serve_app.telemetry.ray_metrics import RayMetrics

    recorder = Recorder(RayMetrics() if ray.is_initialized() else None)
    telemetry = RunTelemetry(collection, recorder)
    telemetry.remember(runs)
    with beating(recorder.flush, beat_s):  # a run that is stuck must go on to say when it last got on
        outcome = "failed"
        try:
            yield telemetry
            outcome = "done" if report.exit_code == 0 else "partial"
        finally:
            telemetry.finish(report, outcome)
