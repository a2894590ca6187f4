"""Ask every process of the application for its metrics, for one scrape of the endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.dispatch.slice_client import HOP_ERRORS, EmbedderHandle
from serve_app.telemetry.exposition import merge

log = logging.getLogger("ray.serve")
SCRAPE_LIMIT_S = 5.0


async def gather(deployments: Sequence[EmbedderHandle], sleepers: Collection[str] = ()) -> bytes:
    """One exposition of what every replica of the deployments recorded; what does not answer in time is left out.

    `sleepers` are the names of deployments that may have no replica.
    """
    parts = await asyncio.gather(*(_samples(handle, handle.deployment_name in sleepers) for handle in deployments))
    return merge(dict(sample for part in parts for sample in part))


async def _samples(handle: EmbedderHandle, may_sleep: bool) -> list[tuple[str, bytes]]:
    try:
        async with asyncio.timeout(SCRAPE_LIMIT_S):
            results = await handle.broadcast("metrics").results_async(return_exceptions=True)
    except (*HOP_ERRORS, TimeoutError) as error:
        results = [] if may_sleep and isinstance(error, DeploymentUnavailableError) else [error]
    failures = [type(result).__name__ for result in results if isinstance(result, BaseException)]
    if failures:
        log.warning("left out of a scrape of %s: %s", handle.deployment_name, ", ".join(failures))
    return [result for result in results if not isinstance(result, BaseException)]
