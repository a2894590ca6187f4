"""Panels of the engines, the replicas they are in, and the machines."""

from __future__ import annotations

from cluster.monitoring.panel import OF_MODEL, Panel, Query, Row, quantiles_of, rate_of
from serve_app.settings import APP_NAME

APP = f'application="{APP_NAME}"'
NO_FAULT = "nothing has gone wrong since the processes started"
NO_GPU = "there is no GPU"

_STEP_TOKENS = "ray_embed_engine_step_tokens"
ENGINE = Row(
    "Engine",
    (
        Panel(
            "Computed tokens a second",
            "short",
            (Query(rate_of("ray_embed_engine_tokens_total", "model, class"), "{{model}} {{class}}"),),
            "By all replicas of a model.",
        ),
        Panel(
            "Tokens of a step",
            "short",
            (
                Query(
                    f"{rate_of(f'{_STEP_TOKENS}_sum', 'model')} / ({rate_of(f'{_STEP_TOKENS}_count', 'model')} > 0)",
                    "{{model}}",
                ),
            ),
            "How full the engine's steps are, in the mean. Through Ray it is known only as exactly as its buckets are.",
        ),
        Panel("Time of a step", "s", quantiles_of("ray_embed_engine_step_seconds", "model"), "Of the engine."),
        Panel(
            "Part of the GPUs' arithmetic in use",
            "percentunit",
            (Query(f"avg by (model) (ray_embed_engine_mfu_ratio{{{OF_MODEL}}})", "{{model}}"),),
            "Model FLOPs utilisation, estimated, idle time included.",
            NO_GPU,
        ),
        Panel(
            "Use of GPUs",
            "percent",
            (Query("ray_node_gpus_utilization", "{{ip}} {{GpuIndex}}"),),
            "Part of the time in which a GPU does anything at all.",
            NO_GPU,
        ),
        Panel(
            "Faulty vectors and repeated slices",
            "short",
            (
                Query(
                    f"sum by (model) (increase(ray_embed_engine_faults_total{{{OF_MODEL}}}[5m]))", "faults {{model}}"
                ),
                Query(f"sum by (model) (increase(ray_embed_retries_total{{{OF_MODEL}}}[5m]))", "repeated {{model}}"),
            ),
            "In five minutes. None was returned; a slice is sent again when its replica has died.",
            NO_FAULT,
        ),
    ),
)
REPLICAS = Row(
    "Replicas",
    (
        Panel(
            "Wanted and healthy replicas",
            "short",
            (
                Query(
                    "sum by (deployment) (max by (ray_io_cluster, deployment)"
                    f" (ray_serve_autoscaling_target_replicas{{{APP}}}))",
                    "{{deployment}} wanted",
                ),
                Query(f"sum by (deployment) (ray_serve_deployment_replica_healthy{{{APP}}})", "{{deployment}} healthy"),
            ),
            "By Serve's deployments: Embedders and Routers.",
        ),
        Panel(
            "Tokens a second of a replica",
            "short",
            (Query(f"avg by (model) (ray_embed_engine_tokens_per_second{{{OF_MODEL}}})", "{{model}}"),),
            "In the mean, idle time included.",
        ),
        Panel(
            "Started replicas",
            "short",
            (Query(f"sum by (deployment) (ray_serve_deployment_replica_starts_total{{{APP}}})", "{{deployment}}"),),
            "Since the nodes started: by growing, updates, and in the place of broken ones.",
        ),
        Panel(
            "CPU of the nodes",
            "percent",
            (Query("ray_node_cpu_utilization", "{{ip}}"),),
            "All cores together.",
        ),
        Panel(
            "Memory of the nodes",
            "percentunit",
            (Query("ray_node_mem_used / ray_node_mem_total", "{{ip}}"),),
            "Ray ends workers above 95 %.",
        ),
    ),
)
