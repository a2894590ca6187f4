"""`embedctl ingest` and `embedctl dlq retry`: documents into a collection, through the running cluster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cluster.commands.dlq import opened, sources_to_retry
from cluster.commands.options import ConfigOption, KeyOption, ServedOption, SinkOption
from cluster.config import ClusterConfig, load_config
from cluster.environment import secret_in
from cluster.running.local import connect, start_for_jobs
from serve_app.core.errors import SetupError

if TYPE_CHECKING:  # heavy, and `embedctl --help` does without
    from ingest.embedding.base import Address
    from ingest.sources.base import Discovery
    from ingest.work import IngestJob

console = Console()

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders, globs, s3://bucket/prefix, gs://…, https://… or list:FILE with one URL a line."
    ),
]
CollectionOption = Annotated[str, typer.Option("--collection", help="Collection to write.")]
HttpOption = Annotated[
    str, typer.Option("--endpoint", help="Embed over HTTP instead, for example https://embed.example.com.")
]
StagesOption = Annotated[
    str,
    typer.Option(
        "--address",
        help="Ray's HOST:PORT, where the work is done; `auto` finds one on this machine, and is the default. With "
        "--endpoint the default is a Ray that is started for it.",
    ),
]
TenantOption = Annotated[str, typer.Option(help="Whom the documents belong to; `search --tenant` sees only theirs.")]


def ingest(
    sources: SourcesArgument,
    collection: CollectionOption = "documents",
    config: ConfigOption = None,
    model: ServedOption = "",
    sink: SinkOption = "",
    address: StagesOption = "",
    endpoint: HttpOption = "",
    tenant: TenantOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and cut everything, embed and write nothing.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what is stored of files that are gone.")] = False,
    recreate: Annotated[bool, typer.Option("--recreate", help="Remove everything of the collection first.")] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Search a rebuilt collection even if it lacks sources of the old one.")
    ] = False,
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Turn documents into a searchable collection, through the replicas of the running cluster.

    Run it again whenever you like: unchanged files are skipped, unchanged passages are not embedded again, and what a
    file no longer holds is removed. `embedctl dlq list` shows what was left out. Exit code 3: done, but some files
    were left out.

    Example: `embedctl ingest ./contracts --collection contracts --prune`
    """
    settings = load_config(config)
    from ingest.run import find
    from ingest.work import IngestJob

    job = IngestJob(
        sources=tuple(sources),
        collection=collection,
        sink=sink or settings.sink,
        address=_address(endpoint, model, key_env),
        tenant=tenant,
        prune=prune,
        recreate=recreate,
        flip=flip,
        mask_secret=secret_in(settings.ingest.mask.key_env),
    )
    found = find(job, settings.ingest)
    if dry_run:
        with _joined(address, endpoint):
            from ingest.dry_run import estimate  # only now: Ray reads how to join when it is first imported

            estimate(job, found, settings.ingest, console).show(console)
    else:
        _run(job, found, settings, address, endpoint)


def retry(
    collection: CollectionOption = "documents",
    reason: Annotated[str | None, typer.Option("--reason", help="Only these, for example `timeout`.")] = None,
    config: ConfigOption = None,
    model: ServedOption = "",
    sink: SinkOption = "",
    address: StagesOption = "",
    endpoint: HttpOption = "",
    tenant: TenantOption = "",
    key_env: KeyOption = "EMBED_API_KEY",
) -> None:
    """Try again what could not be ingested, whatever the reason was.

    Example: `embedctl dlq retry --collection handbook --reason needs_ocr`
    """
    settings = load_config(config)
    with opened(config, "", sink) as book:
        letters = sources_to_retry(book, collection, reason)
    from ingest.run import find
    from ingest.sources.local import may_be_there
    from ingest.tenancy import uri_of
    from ingest.work import IngestJob

    uris = {uri: letter.root or uri for letter in letters if (uri := uri_of(tenant, letter.source)) is not None}
    if not uris:
        raise SetupError("All dead letters of this collection belong to other tenants: give --tenant.")
    roots = {root for root in uris.values() if not root.startswith("file://") or may_be_there(root)}
    if not roots:
        raise SetupError("The files of all these dead letters are gone: `embedctl dlq clear` forgets them.")
    job = IngestJob(
        sources=tuple(sorted(roots)),
        collection=collection,
        sink=sink or settings.sink,
        address=_address(endpoint, model, key_env),
        tenant=tenant,
        retry_dead=True,
        only=frozenset(uris),
        mask_secret=secret_in(settings.ingest.mask.key_env),
    )
    found = find(job, settings.ingest)
    _run(job, found, settings, address, endpoint)


def _run(job: IngestJob, found: Discovery, settings: ClusterConfig, address: str, endpoint: str) -> None:
    from ingest.sinks.registry import begun_early

    with begun_early(job.sink), _joined(address, endpoint):
        from ingest.run import run

        report = run(job, found, settings.ingest, console)
        report.show(console)
    raise typer.Exit(report.exit_code)


def _address(endpoint: str, model: str, key_env: str) -> Address:
    from ingest.embedding.base import HandleAddress, HttpAddress

    return HttpAddress(endpoint, secret_in(key_env), model) if endpoint else HandleAddress(model)


@contextmanager
def _joined(address: str, endpoint: str) -> Iterator[None]:
    """The job's own stages run in the cluster that embeds; with an endpoint alone, in a Ray of their own here."""
    with ExitStack() as stack:
        with _without_collecting():
            if endpoint and not address:
                start_for_jobs()
            else:
                connect(address or "auto")
            import ray

            stack.callback(ray.shutdown)  # left to the end of the process, Ray waits half a second for lines of log
        yield


@contextmanager
def _without_collecting() -> Iterator[None]:
    """For imports: what they make is no garbage, and never looked at again it costs nothing when the process ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
