"""Panels of ingestion."""

from __future__ import annotations

from cluster.monitoring.panel import Panel, Query, Row, rate_of

NO_RUN = "no run of ingestion is, or was, in this Ray cluster"

INGESTION = Row(
    "Ingestion",
    (
        Panel(
            "Files by what became of them",
            "short",
            (Query("sum by (collection, outcome) (ray_ingest_files_total)", "{{collection}} {{outcome}}"),),
            "Of all runs since the nodes started.",
            NO_RUN,
        ),
        Panel(
            "Files still to settle",
            "short",
            (Query("max by (collection) (ray_ingest_pending_files)", "{{collection}}"),),
            "Of the run that is under way.",
            "no run is under way",
        ),
        Panel(
            "Embedded tokens a second",
            "short",
            (Query(rate_of("ray_ingest_tokens_total", "collection", ""), "{{collection}}"),),
            "As far as their chunks are stored. A run of less than a minute is too short to be seen here.",
            NO_RUN,
        ),
        Panel(
            "Since something was stored",
            "s",
            (Query("time() - max by (collection) (ray_ingest_progress_timestamp_seconds)", "{{collection}}"),),
            "By the run that is under way.",
            "no run is under way",
        ),
        Panel(
            "Since a run succeeded",
            "dtdurations",
            (
                Query(
                    "time() - max by (collection) (last_over_time(ray_ingest_success_timestamp_seconds[2d]))",
                    "{{collection}}",
                ),
            ),
            "As far as runs of the last two days know.",
            NO_RUN,
        ),
        Panel(
            "Files left out, by reason",
            "short",
            (Query("sum by (collection, reason) (ray_ingest_dead_letters_total)", "{{collection}} {{reason}}"),),
            "Of all runs since the nodes started.",
            "no file has ever been left out",
        ),
    ),
)
