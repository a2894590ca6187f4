"""Ask every process of the application for its metrics, for one scrape of the endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from serve_app.dispatch.slice_client import HOP_ERRORS, EmbedderHandle
from serve_app.telemetry.exposition import merge

log = logging.getLogger("ray.serve")
SCRAPE_LIMIT_S = 5.0


async def gather(deployments: Sequence[EmbedderHandle]) -> bytes:
    """One exposition of what every replica of the deployments recorded; what does not answer in time is left out."""
    parts = await asyncio.gather(*(_samples(handle) for handle in deployments))
    return merge(dict(sample for part in parts for sample in part))


async def _samples(handle: EmbedderHandle) -> list[tuple[str, bytes]]:
    try:
        async with asyncio.timeout(SCRAPE_LIMIT_S):
            results = await handle.broadcast("metrics").results_async(return_exceptions=True)
    except (*HOP_ERRORS, TimeoutError) as error:
        results = [error]
    failures = [type(result).__name__ for result in results if isinstance(result, BaseException)]
    if failures:
        log.warning("left out of a scrape of %s: %s", handle.deployment_name, ", ".join(failures))
    return [result for result in results if not isinstance(result, BaseException)]
