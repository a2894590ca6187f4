"""The Ray Data job: parse and chunk ▸ embed ▸ write, and the driver that follows its receipts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import ray
from ray.data import ActorPoolStrategy
from ray.data.exceptions import UserCodeException  # type: ignore[attr-defined]
from ray.exceptions import RayError
from rich.console import Console

from ingest.discover import Discovery, SourceFile
from ingest.report import IngestReport, Receipt, RunProgress
from ingest.settings import IngestSettings
from ingest.sinks.base import CollectionSpec, VectorSink
from ingest.sinks.registry import open_sink
from ingest.stages import EmbedChunks, ParseAndChunk, WriteChunks
from serve_app.core import dimensions
from serve_app.core.errors import EmbedError, SetupError
from serve_app.core.profile import ModelProfile
from serve_app.dispatch.slice_client import describe_model

FILES_PER_TASK = 1  # a slow or broken file holds up nobody else
WAITING_CPUS = 0.05  # actors that wait for the replicas or the sink
DESCRIBE_TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class IngestJob:
    found: Discovery
    collection: str
    sink: str
    model: str  # served name; empty: the cluster's first
    recreate: bool = False


def run(job: IngestJob, settings: IngestSettings, console: Console) -> IngestReport:
    """Ingest what was found and return what happened. Needs a connected Ray cluster that serves `job.model`.

    Files that cannot be read are in the report's failures. Raises SetupError if the job as a whole cannot be done.
    """
    found = job.found
    profile = describe_model(job.model, DESCRIBE_TIMEOUT_S)
    report = IngestReport(files=len(found.files), skipped=found.skipped)
    with open_sink(job.sink) as (sink, sink_uri):
        size = dimensions.check(profile, settings.dimensions)
        if job.recreate:
            sink.drop(job.collection)
        sink.ensure(CollectionSpec(job.collection, size, profile.name))
        with RunProgress(console, len(found.files)) as progress:
            for receipt in _receipts(found.files, profile, settings, sink_uri, job.collection):
                report.add(receipt)
                progress.update(report)
        report.removed = _remove_outdated(sink, job.collection, report)
    report.finish()
    return report


def _receipts(
    files: tuple[SourceFile, ...], profile: ModelProfile, settings: IngestSettings, sink_uri: str, collection: str
) -> Iterator[Receipt]:
    items = [dataclasses.asdict(file) for file in files]
    dataset: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(files))
    dataset = dataset.map_batches(
        ParseAndChunk,
        fn_constructor_args=(profile, settings),
        batch_size=FILES_PER_TASK,
        batch_format="pyarrow",
        num_cpus=settings.parse_cpus,
        compute=ActorPoolStrategy(min_size=1, max_size=settings.parsers),
    )
    dataset = dataset.map_batches(
        EmbedChunks,
        fn_constructor_args=(profile, settings, sink_uri, collection),
        batch_size=settings.rows_per_write,
        batch_format="pyarrow",
        num_cpus=WAITING_CPUS,
        compute=ActorPoolStrategy(size=1),
    )
    dataset = dataset.map_batches(
        WriteChunks,
        fn_constructor_args=(sink_uri, collection),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=WAITING_CPUS,
        compute=ActorPoolStrategy(size=1),
    )
    try:
        for row in dataset.iter_rows():
            yield Receipt(**row)
    except (RayError, UserCodeException) as error:
        raise SetupError(f"The job stopped: {_reason(error)} Run it again: what is stored stays.") from error


def _reason(error: BaseException) -> str:
    """The product's own sentence inside what Ray wrapped around it, or the kind of failure."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, EmbedError):
            return seen.message
        seen = getattr(seen, "cause", None) or seen.__cause__
    return f"a stage failed with {type(error).__name__}; Ray's log says why."


def _remove_outdated(sink: VectorSink, collection: str, report: IngestReport) -> int:
    """Delete what a file no longer holds, only after everything it does hold has been written."""
    removed = 0
    for source in report.complete:
        outdated = sink.keys_of(collection, source) - report.keys[source]
        if outdated:
            sink.delete(collection, sorted(outdated))
            removed += len(outdated)
    return removed
