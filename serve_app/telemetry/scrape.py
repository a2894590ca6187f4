"""Ask every process of the application for its metrics, for one scrape of the endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.dispatch.slice_client import HOP_ERRORS, EmbedderHandle, ask_every_replica
from serve_app.telemetry.exposition import merge
from serve_app.telemetry.metrics import SCRAPE_MISSING
from serve_app.telemetry.recorder import Recorder

log = logging.getLogger("ray.serve")
SCRAPE_LIMIT_S = 3.0  # Prometheus gives a whole scrape up after 10 s, or after 5 s where it scrapes every 5


async def gather(deployments: Sequence[EmbedderHandle], scraper: str, sleepers: Collection[str] = ()) -> bytes:
    """One exposition of what every replica of the deployments recorded. What does not answer in time is left out,
    alone, and counted in SCRAPE_MISSING.

    `scraper` is the replica that asks, `sleepers` are the names of deployments that may have no replica.
    """
    answers = await asyncio.gather(*(_answers(handle, handle.deployment_name in sleepers) for handle in deployments))
    parts: dict[str, bytes] = {}
    scrape = Recorder()
    for handle, results in zip(deployments, answers, strict=True):
        samples = [result for result in results if not isinstance(result, BaseException)]
        parts.update(samples)
        scrape.set(SCRAPE_MISSING, len(results) - len(samples), handle.deployment_name)
    return merge({**parts, scraper: parts.get(scraper, b"") + scrape.samples()})


async def _answers(handle: EmbedderHandle, may_sleep: bool) -> list[tuple[str, bytes] | BaseException]:
    """Each replica's samples under its name, or why it gives none; one failure if nobody could be asked."""
    results: list[tuple[str, bytes] | BaseException]
    try:
        results = await ask_every_replica(handle, "metrics", SCRAPE_LIMIT_S)
    except (*HOP_ERRORS, TimeoutError) as error:
        results = [] if may_sleep and isinstance(error, DeploymentUnavailableError) else [error]
    failures = [type(result).__name__ for result in results if isinstance(result, BaseException)]
    if failures:
        log.warning("left out of a scrape of %s: %s", handle.deployment_name, ", ".join(failures))
    return results
