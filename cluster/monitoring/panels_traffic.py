"""Panels of what clients notice, and of what they wait for."""

from __future__ import annotations

from cluster.monitoring.objectives import ERRORS, LATENCY_LIMIT_S, SLOW, ratio
from cluster.monitoring.panel import OF_MODEL, Panel, Query, Row, quantiles_of, rate_of

REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Requests by status",
            "reqps",
            (Query(rate_of("ray_embed_requests_total", "status"), "{{status}}"),),
            "Answered requests a second. 4xx and 429 are the client's or its amount's, 5xx are ours.",
        ),
        Panel(
            "Tokens a second",
            "short",
            (Query(rate_of("ray_embed_tokens_total", "model, class"), "{{model}} {{class}}"),),
            "Of answered requests, whether they were computed or taken from the cache.",
        ),
        Panel(
            "Refused requests by reason",
            "reqps",
            (Query(rate_of("ray_embed_rejections_total", "reason", ""), "{{reason}}"),),
            "By the code of the error in the answer.",
        ),
        Panel(
            "Part of the requests that fail",
            "percentunit",
            tuple(Query(f"{ratio(ERRORS, w)}{{{OF_MODEL}}}", f"{{{{model}}}} {w}") for w in ("5m", "1h")),
            f"Server errors, clients' own faults and 429 left aside. {ERRORS.budget:.1%} may.",
        ),
    ),
)
LATENCY = Row(
    "Latency",
    (
        Panel(
            "Time of interactive requests",
            "s",
            quantiles_of("ray_embed_request_seconds", "model", f'{OF_MODEL},class="interactive"'),
            "From the whole body to the answer.",
        ),
        Panel(
            "Time of bulk requests",
            "s",
            quantiles_of("ray_embed_request_seconds", "model", f'{OF_MODEL},class="bulk"'),
            "They wait behind interactive ones, and that is meant.",
        ),
        Panel(
            f"Part of interactive requests above {LATENCY_LIMIT_S:g} s",
            "percentunit",
            tuple(Query(f"{ratio(SLOW, w)}{{{OF_MODEL}}}", f"{{{{model}}}} {w}") for w in ("5m", "1h")),
            f"{SLOW.budget:.0%} may.",
        ),
    ),
)
QUEUE = Row(
    "Queue",
    (
        Panel(
            "Tokens waiting in Routers",
            "short",
            (Query(f"sum by (model, class) (ray_embed_queue_tokens{{{OF_MODEL}}})", "{{model}} {{class}}"),),
            "For room at a replica.",
            "nothing has ever had to wait",
        ),
        Panel(
            "Wait in Routers",
            "s",
            quantiles_of("ray_embed_queue_seconds", "model, class"),
            "Of a slice, until it is sent to a replica.",
        ),
        Panel(
            "Tokens waiting in replicas",
            "short",
            (Query(f"sum by (model, class) (ray_embed_engine_queue_tokens{{{OF_MODEL}}})", "{{model}} {{class}}"),),
            "For their turn in the engine.",
        ),
    ),
)
_HITS = rate_of("ray_embed_cache_hits_total", "model")
CACHE = Row(
    "Cache",
    (
        Panel(
            "Part of the texts that is not computed",
            "percentunit",
            (Query(f"{_HITS} / ({_HITS} + {rate_of('ray_embed_cache_misses_total', 'model')} > 0)", "{{model}}"),),
            "Its vector is in the cache, or another request is computing it.",
            "no text has ever come twice",
        ),
        Panel(
            "Size",
            "bytes",
            (Query(f"sum by (model) (ray_embed_cache_bytes{{{OF_MODEL}}})", "{{model}}"),),
            "Of all Routers' caches together.",
            "the caches hold less than 1/256 of what they may",
        ),
    ),
)
