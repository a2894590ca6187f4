"""How fast the cluster's engines compute, by their own account: what an estimate of time is made of."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from ingest.embedding.base import Address, HttpAddress, ServedModel
from serve_app.core.errors import SetupError

TIMEOUT_S = 5.0
TOKENS, SECONDS = "embed_engine_tokens_total", "embed_engine_step_seconds_sum"
REPLICA, MODEL = "replica", "model"


def measured_tokens_per_s(address: Address, served: ServedModel) -> float | None:
    """Of all replicas together, while they compute; None where they have computed nothing, or may not be asked."""
    try:
        texts = _over_http(address) if isinstance(address, HttpAddress) else _over_handle(served.name)
    except SetupError:  # an API key without the scope `admin` may embed, but not read metrics
        return None
    return sum(rate_in(text, served.name) for text in texts) or None


def rate_in(exposition: str, model: str) -> float:
    """Tokens over the seconds of the steps that computed them, summed over the replicas in a Prometheus text."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in (TOKENS, SECONDS) and sample.labels.get(MODEL) == model:
                sums[sample.labels.get(REPLICA, "")][sample.name] += sample.value
    return sum(of[TOKENS] / of[SECONDS] for of in sums.values() if of[SECONDS])


def _over_http(address: HttpAddress) -> list[str]:
    from ingest.embedding.http import EndpointClient

    with EndpointClient(address) as client:
        return [client.text("/metrics")]


def _over_handle(model: str) -> list[str]:
    from serve_app.dispatch.slice_client import replica_metrics

    return replica_metrics(model, TIMEOUT_S)
