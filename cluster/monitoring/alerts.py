"""Alerts on what is wrong inside, whether or not a request has suffered from it yet."""

from __future__ import annotations

from cluster.monitoring.rule import Alert
from serve_app.settings import APP_NAME

APP = f'application="{APP_NAME}"'
SOME_MINUTES = "15m"


def growth(metric: str, by: str, over: str) -> str:
    """By how much a counter of rare events grew.

    `increase()` needs two samples and so misses the first event of a process, which for these is the usual one. The
    price: a Prometheus that has just started takes all there is for new.
    """
    now, before = f"sum by ({by}) ({metric})", f"sum by ({by}) ({metric} offset {over})"
    return f"{now} - ({before} or {now} * 0)"


# During an upgrade on Kubernetes there are two clusters, and a healthy one must not hide the other: `ray_io_cluster`, a
# label that the scrape adds there, tells them apart. Elsewhere it is missing, and there is one.
EACH = "ray_io_cluster, deployment"
_TARGET = f"max by ({EACH}) (ray_serve_autoscaling_target_replicas{{{APP}}})"
_HEALTHY = f"(sum by ({EACH}) (ray_serve_deployment_replica_healthy{{{APP}}}) or {_TARGET} * 0)"
_BAD_RUNS = 'ray_ingest_runs_total{outcome=~"failed|interrupted"}'

SERVING = (
    Alert(
        "EmbedMetricsMissing",
        "page",
        f"absent(ray_serve_application_status{{{APP}}})",
        "10m",
        "Nothing is known of the cluster",
        "No scraped Ray node knows the application: the cluster is down, or not scraped, and no other alert can fire.",
    ),
    Alert(
        "EmbedDeploymentUnhealthy",
        "page",
        f"max by ({EACH}) (ray_serve_deployment_status{{{APP}}}) <= 2 and {_TARGET} > 0",
        "5m",
        "{{ $labels.deployment }} is unhealthy",
        "Ray Serve gives the deployment the status {{ $value }} (1: it failed to deploy, 2: unhealthy).",
    ),
    Alert(
        "EmbedNoReplica",
        "page",
        f"sum by (deployment) ({_HEALTHY}) == 0 and max by (deployment) ({_TARGET}) > 0",
        "3m",
        "{{ $labels.deployment }} has no healthy replica",
        "Requests that need the deployment wait until their time is up, and then fail.",
    ),
    Alert(
        "EmbedReplicasMissing",
        "ticket",
        f"{_TARGET} - {_HEALTHY} > 0",
        "15m",
        "{{ $labels.deployment }} lacks {{ $value }} replicas",
        "So many replicas fewer than wanted are healthy: there is no room for them, or they do not come up.",
    ),
    Alert(
        "EmbedUpgradeStuck",
        "ticket",
        'max by (namespace, name) (kuberay_service_condition_upgrade_in_progress{condition="true"}) > 0',
        "1h",
        "The upgrade of {{ $labels.name }} does not come to its end",
        "KubeRay has been waiting for the second cluster for an hour. The first one still answers.",
    ),
    Alert(
        "EmbedQueueWait",
        "ticket",
        "histogram_quantile(0.99, sum by (le, model)"
        ' (rate(ray_embed_queue_seconds_bucket{class="interactive"}[5m]))) > 1',
        "10m",
        "Requests for {{ $labels.model }} wait long for their turn",
        "One in a hundred slices of interactive requests waits longer than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "EmbedRequestsRejected",
        "ticket",
        'sum by (model) (rate(ray_embed_requests_total{class!="bulk",status="429"}[10m]))'
        ' / (sum by (model) (rate(ray_embed_requests_total{class!="bulk"}[10m])) > 0) > 0.05',
        "10m",
        "Requests for {{ $labels.model }} are turned away",
        "{{ $value | humanizePercentage }} of the requests are answered with 429 because too much is waiting. Bulk "
        "requests are not counted: their clients send until they are told to slow down.",
    ),
    Alert(
        "EmbedEngineFaults",
        "ticket",
        f"{growth('ray_embed_engine_faults_total', 'model', SOME_MINUTES)} > 0",
        "0m",
        "The engine of {{ $labels.model }} computes faulty vectors",
        f"{{{{ $value }}}} vectors of the last {SOME_MINUTES} were not finite or not of length 1. None was returned.",
    ),
    Alert(
        "EmbedLowMfu",
        "ticket",
        "avg by (model) (avg_over_time(ray_embed_engine_mfu_ratio[30m])) < 0.15"
        " and sum by (model) (min_over_time(ray_embed_engine_queue_tokens[30m])) > 0",
        "15m",
        "The GPUs of {{ $labels.model }} are slow although work is waiting",
        "For half an hour they have done {{ $value | humanizePercentage }} of the arithmetic they could.",
    ),
)

INGESTION = (
    Alert(
        "IngestStuck",
        "ticket",
        "time() - max by (collection) (ray_ingest_progress_timestamp_seconds) > 900",
        "5m",
        "A run into {{ $labels.collection }} does not get on",
        "It is alive and has stored nothing for {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "IngestFailed",
        "ticket",
        f"{growth(_BAD_RUNS, 'collection', '1h')} > 0",
        "0m",
        "A run into {{ $labels.collection }} failed",
        "It ended with an error, or was killed, which the run after it has noticed. What it had stored stays.",
    ),
    Alert(
        "IngestDeadLetters",
        "ticket",
        f"sum by (collection) ({growth('ray_ingest_dead_letters_total', 'collection, reason', '1h')} > 0) > 0",
        "0m",
        "Files were left out of {{ $labels.collection }}",
        "{{ $value }} files could not be stored, or not wholly: `embedctl dlq list --collection "
        "{{ $labels.collection }}` says why.",
    ),
)
