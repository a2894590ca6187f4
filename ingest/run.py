"""One run, from sources to a collection that answers for them: the driver around the Ray Data job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.console import Console
from rich.progress import Progress

from ingest.commit import Committer, Expected
from ingest.embedding.base import describe
from ingest.fingerprint import Fingerprint, pipeline_fingerprint
from ingest.ledger.lease import Lease
from ingest.ledger.ledger import Ledger, open_ledger
from ingest.ledger.place import ledger_uri
from ingest.mask.masker import Masker
from ingest.plan import Known, Plan, gone_of, make_plan
from ingest.progress import run_progress, telling
from ingest.receipts import Receipt
from ingest.report import IngestReport
from ingest.settings import IngestSettings
from ingest.sinks.base import CollectionSpec, VectorSink
from ingest.sinks.registry import open_sink
from ingest.sources.base import Discovery, SourceFile
from ingest.sources.corpus import split
from ingest.sources.discover import discover
from ingest.sources.read import is_there, versions
from ingest.target import Target, drop_all, flip, not_covered, open_target, physical_name
from ingest.telemetry import RunTelemetry, run_telemetry
from ingest.tenancy import check_tenant, uri_of
from ingest.work import IngestJob, StageSetup, WorkUnit
from serve_app.core.errors import SetupError

FEW_FILES = 200  # hashing fewer is over before a bar can be read


def run(job: IngestJob, found: Discovery, settings: IngestSettings, console: Console) -> IngestReport:
    """Ingest what `find` has found and return what happened. Needs a process that is connected to Ray.

    Files that cannot be read are in the report's troubles. Raises SetupError if the job as a whole cannot be done.
    """
    served = describe(job.address)
    size = served.size(settings.dimensions)
    fingerprint = pipeline_fingerprint(served, settings, _mask_policy(job, settings), size)
    with (
        open_ledger(ledger_uri(settings.ledger, job.sink)) as ledger,
        ledger.lease(job.collection, settings.lease_s) as lease,
        open_sink(job.sink) as (sink, sink_uri),
    ):
        if job.recreate:
            drop_all(sink, ledger, job.collection)
        spec = CollectionSpec(physical_name(job.collection, fingerprint), size, served.name, fingerprint.value)
        target = open_target(sink, ledger, job.collection, fingerprint, spec)
        run_id = ledger.start_run(job.collection, target.physical, fingerprint.to_json())
        report = IngestReport(len(found.files), job.collection, target.physical, found.skipped)
        setup = StageSetup(
            settings,
            job.address,
            served,
            sink_uri,
            target.physical,
            job.tenant,
            run_id,
            job.mask_secret,
            target.was_empty,
        )
        with (
            _recorded(ledger, run_id, report),
            run_telemetry(job.collection, ledger.runs(job.collection), report) as telemetry,
        ):
            _Run(job, found, setup, sink, ledger, lease, target, console, report, telemetry).do(fingerprint)
    return report


def _mask_policy(job: IngestJob, settings: IngestSettings) -> str:
    return Masker(settings.mask, job.mask_secret).policy_id if settings.mask.is_on else ""


def units_of(sources: Mapping[str, SourceFile]) -> list[WorkUnit]:
    """A unit for every file, and for every part of a large corpus."""
    return [WorkUnit(part, source) for source, file in sources.items() for part in split(file)]


def find(job: IngestJob, settings: IngestSettings) -> Discovery:
    """What the job is about, before any cluster is asked.

    Raises SetupError if there is nothing to ingest: an empty folder is more often a mistake than a wish.
    """
    check_tenant(job.tenant)
    if job.tenant and job.recreate:
        raise SetupError("--recreate removes the collection with all its tenants: give it without --tenant.")
    found = discover(job.sources, settings.sources)
    if job.only is not None:
        found = replace(found, files=tuple(file for file in found.files if file.uri in job.only), roots=())
    if not found.files:
        raise SetupError(
            f"There is nothing to ingest in {', '.join(job.sources)}: no file of a format that can be read."
        )
    return found


@contextmanager
def _recorded(ledger: Ledger, run_id: str, report: IngestReport) -> Iterator[None]:
    status = "failed"
    try:
        yield
        status = "done" if report.exit_code == 0 else "done, some left out"
    finally:
        report.finish()
        ledger.finish_run(run_id, status, report.counts())


@dataclass(frozen=True, slots=True)
class _Run:
    job: IngestJob
    found: Discovery
    setup: StageSetup
    sink: VectorSink
    ledger: Ledger
    lease: Lease
    target: Target
    console: Console
    report: IngestReport
    telemetry: RunTelemetry

    def do(self, fingerprint: Fingerprint) -> None:
        """Raises SetupError; whatever has been committed by then stays."""
        known = self._versions()
        plan = self._plan(known)
        self.telemetry.plan(len(plan.todo), self.report)
        committer = Committer(self.sink, self.ledger, self.lease, self.target, self.setup.run_id)
        if plan.todo:
            self._work(plan, known, committer)
        # With nothing to do, too: the run before may have died here.
        with telling(self.console, "building the indexes"):
            self.sink.finish(self.target.physical)
        if self.job.prune:
            self.report.pruned = committer.prune(self._gone(plan.gone))
        else:
            self.report.gone = len(self._gone(plan.gone))
        self.report.stored = self.sink.count(self.target.physical)
        if self.target.is_rebuild:
            self._flip_or_say_why_not(fingerprint)

    def _versions(self) -> Mapping[str, str]:
        """By URI, of every file that can be read at all."""
        files = self.found.files
        settings = self.setup.settings.sources
        with Progress(console=self.console, transient=True, disable=len(files) < FEW_FILES) as progress:
            bar = progress.add_task("looking for changes", total=len(files))
            told = versions(files, settings, lambda _: progress.advance(bar))
        return {uri: version for uri, version in told.items() if isinstance(version, str)}

    def _plan(self, found_versions: Mapping[str, str]) -> Plan:
        everything, physical, collection = self.job.retry_dead, self.target.physical, self.job.collection
        letters = self.ledger.letters(collection)
        known = Known(
            committed=self.ledger.sources(physical),
            dead={} if everything else self.ledger.known_dead(collection, physical),
            retried={letter.source for letter in letters if everything or not letter.permanent},
        )
        plan = make_plan(self.found, self.job.tenant, found_versions, known)
        self.report.unchanged, self.report.known_dead = len(plan.unchanged), len(plan.known_dead)
        return plan

    def _work(self, plan: Plan, known: Mapping[str, str], committer: Committer) -> None:
        from ingest.pipeline import receipts  # Ray Data is heavy, and a run with nothing to do goes without

        units = units_of(plan.todo)
        parts = Counter(unit.source for unit in units)
        expected = {
            source: Expected(file, known.get(file.uri, ""), parts[source]) for source, file in plan.todo.items()
        }
        with run_progress(self.console, len(expected)) as progress:
            for receipt in receipts(units, self.setup):
                self._take(receipt, expected, committer)
                self.telemetry.take(receipt, self.report)
                progress.update(self.report)
        if expected:
            raise SetupError(
                f"The job ended before {len(expected)} of the files were complete. Run it again: what is stored stays."
            )

    def _take(self, receipt: Receipt, expected: dict[str, Expected], committer: Committer) -> None:
        self.report.add(receipt)
        source = expected[receipt.source]
        source.add(receipt)
        if not source.is_complete:
            return
        self.report.removed += committer.commit(receipt.source, source)
        self.report.settled += 1
        self.report.complete += source.is_stored
        if source.troubles:
            self.report.troubles[receipt.source_file] = source.troubles
            self.report.untold[receipt.source_file] = source.troubles_in_all - len(source.troubles)
        del expected[receipt.source]  # its keys are many

    def _gone(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Those of the sources that are gone beyond doubt: a file that cannot be reached is not."""
        uris = {source: uri_of(self.job.tenant, source) or "" for source in sources}
        return tuple(source for source, uri in uris.items() if not is_there(uri))

    def _flip_or_say_why_not(self, fingerprint: Fingerprint) -> None:
        """Searches go to the rebuilt collection as soon as it answers for every source that the old one does."""
        live, physical = self.target.live, self.target.physical
        missing = set(not_covered(self.ledger, self.target))
        missing -= self.ledger.known_dead(self.job.collection, physical).keys()
        if self.job.prune:
            missing -= set(self._gone(gone_of(self.found, self.job.tenant, missing)))
        known, _ = self.ledger.totals(live)
        if not self.job.flip and (missing or (not known and self.sink.count(live))):
            lack = f"lacks {len(missing)} of the sources in" if missing else "may lack something of"
            self.report.unflipped = (
                f"Rebuilding: `{physical}` {lack} `{live}`, which searches go on to use. Ingest those too, --prune "
                "what is gone, or give --flip, and searches will go over to the new collection."
            )
            return
        flip(self.sink, self.ledger, self.lease, self.target, fingerprint)
        self.report.flip = (
            f"Searches now use `{physical}`. The collection before it, `{live}`, is kept: "
            f"`embedctl collections drop {live}` removes it."
        )
