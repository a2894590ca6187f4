"""All panels, in their order. Expressions name metrics as the Ray nodes export them: with the prefix `ray_`."""

from __future__ import annotations

from cluster.monitoring.panels_engine import ENGINE, REPLICAS
from cluster.monitoring.panels_ingestion import INGESTION
from cluster.monitoring.panels_traffic import CACHE, LATENCY, QUEUE, REQUESTS

SERVING = (REQUESTS, LATENCY, QUEUE, CACHE, ENGINE, REPLICAS)
ROWS = (*SERVING, INGESTION)
