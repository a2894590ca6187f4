"""The Ray Data job: parse and chunk ▸ embed and write. Units of work in, receipts out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import UserCodeException  # type: ignore[attr-defined]
from ray.exceptions import RayError

from ingest.embedding.base import HandleAddress
from ingest.receipts import Receipt
from ingest.stages.parse import ParseAndChunk
from ingest.stages.sharing import NICENESS, most_parsers
from ingest.stages.store import EmbedAndWrite
from ingest.work import Sealed, StageSetup, WorkUnit
from serve_app.core.errors import EmbedError, SetupError

UNITS_PER_TASK = 1  # a slow or broken file holds up nobody else
WAITING_CPUS = 0.05  # of the actor that waits for the replicas and the sink
BUNDLES_AT_ONCE = 3  # in that actor, each of them a few batches: while one is written, the engine has the others
BLOCK_BYTES = 8 * 2**20  # what a large file has come to so far goes on to the next stage


def receipts(units: Sequence[WorkUnit], setup: StageSetup) -> Iterator[Receipt]:
    """Run the units through all stages; a receipt comes when its part is in the store.

    Needs a process that is connected to Ray. Raises SetupError if the job cannot go on.
    """
    dataset = parsed(units, setup)
    writers = min(setup.settings.writers, len(units))
    dataset = dataset.map_batches(
        EmbedAndWrite,
        fn_constructor_args=(Sealed(setup), NICENESS),
        batch_size=setup.settings.rows_per_write,
        batch_format="pyarrow",
        num_cpus=WAITING_CPUS,
        compute=ActorPoolStrategy(size=writers, max_concurrent_calls_per_actor=BUNDLES_AT_ONCE),
    )
    for row in rows_of(dataset):
        yield Receipt.from_json(str(row["receipt"]))


def parsed(units: Sequence[WorkUnit], setup: StageSetup) -> ray.data.Dataset:
    """The first stage alone; its rows are those of `ingest.rows`."""
    logging.getLogger(ray.data.__name__).setLevel(logging.ERROR)  # importing it has set the level
    context = DataContext.get_current()
    context.target_max_block_size = BLOCK_BYTES
    context.memory_usage_poll_interval_s = None  # a thread in every task, for statistics that nobody reads
    context.raise_original_map_exception = True  # wrapped, it would lose its cause, our sentence, between processes
    settings = setup.settings.parse
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    beside_replicas = isinstance(setup.address, HandleAddress)
    parsers = most_parsers(settings.actors, len(units), cpus, beside_replicas=beside_replicas)
    dataset: ray.data.Dataset = ray.data.from_items(
        [{"unit": unit.to_json()} for unit in units], override_num_blocks=len(units)
    )
    return dataset.map_batches(
        ParseAndChunk,
        fn_constructor_args=(Sealed(setup), NICENESS),
        batch_size=UNITS_PER_TASK,
        batch_format="pyarrow",
        num_cpus=settings.cpus,
        compute=ActorPoolStrategy(min_size=1, max_size=parsers),
    )


def rows_of(dataset: ray.data.Dataset) -> Iterator[dict[str, object]]:
    """Raises SetupError with the product's own reason where a stage gave one."""
    try:
        yield from dataset.iter_rows()
    except (RayError, UserCodeException) as error:
        raise SetupError(f"The job stopped: {_reason(error)} Run it again: what is stored stays.") from error


def _reason(error: BaseException) -> str:
    """The product's own sentence inside what Ray wrapped around it, or the kind of failure."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, EmbedError):
            return seen.message.partition("\n")[0]  # Ray adds advice of its own, and ours is one line
        seen = getattr(seen, "cause", None) or seen.__cause__
    return f"a stage failed with {type(error).__name__}; Ray's log says why."
