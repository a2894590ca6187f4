"""What Prometheus is to read, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SCRAPE_EVERY_S = 15
RULES_FILE = "rules.yaml"
RAY_DISCOVERY = "/tmp/ray/prom_metrics_service_discovery.json"  # noqa: S108  # where Ray's dashboard keeps it
NODES, ENDPOINT = "ray-nodes", "embed-endpoint"


@dataclass(frozen=True, slots=True)
class ScrapedEndpoint:
    """The HTTP endpoint, http(s)://HOST:PORT; `key_file` holds an API key that may read metrics, if it asks for one."""

    url: str
    key_file: str = ""


def render_scrape(
    targets: Sequence[str] = (),
    endpoint: ScrapedEndpoint | None = None,
    every_s: int = SCRAPE_EVERY_S,
    rules_file: str = RULES_FILE,
) -> dict[str, Any]:
    """Prometheus' configuration. `targets`: HOST:PORT of every Ray node's metrics; none: Ray's own list of them.

    The rules and the dashboard use the nodes alone. What the endpoint has is the same under names without `ray_`,
    and whether it answers at all.
    """
    nodes: dict[str, Any] = {"job_name": NODES}
    if targets:
        nodes["static_configs"] = [{"targets": sorted(targets)}]
    else:
        nodes["file_sd_configs"] = [{"files": [RAY_DISCOVERY]}]
    jobs = [nodes] if endpoint is None else [nodes, _job(endpoint)]
    return {
        "global": {"scrape_interval": f"{every_s}s", "evaluation_interval": f"{every_s}s"},
        "rule_files": [rules_file],
        "scrape_configs": jobs,
    }


def _job(endpoint: ScrapedEndpoint) -> dict[str, Any]:
    parts = urlsplit(endpoint.url)
    job = {
        "job_name": ENDPOINT,
        "scheme": parts.scheme,
        "metrics_path": f"{parts.path.rstrip('/')}/metrics",
        "static_configs": [{"targets": [parts.netloc]}],
    }
    return job | ({"authorization": {"credentials_file": endpoint.key_file}} if endpoint.key_file else {})
