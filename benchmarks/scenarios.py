"""What the scenarios measure beside the comparison with peers, and the bar of each figure. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["isolation", "wide", "overload", "soak", "ingest", "ingest_memory"]
TITLES: dict[Scenario, str] = {
    "isolation": "Interactive requests beside a bulk flood",
    "wide": "2,048 inputs × 2,560 dimensions",
    "overload": "Three times the load it can carry",
    "soak": "Memory under a steady load",
    "ingest": "Ingestion against its parts",
    "ingest_memory": "Memory of an ingestion of a large file",
}
MIN_TRIALS: dict[Scenario, int] = {
    "isolation": 5,
    "wide": 5,
    "overload": 5,
    "soak": 1,
    "ingest": 5,
    "ingest_memory": 1,
}


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a scenario. `bar` and `goal` bound its median; None means it is shown for information."""

    scenario: Scenario
    figure: str  # a key of trials.Trial.figures
    title: str
    unit: str
    bar: float | None = None
    goal: float | None = None
    is_lower_better: bool = True

    def reaches(self, value: float, limit: float) -> bool:
        return value <= limit if self.is_lower_better else value >= limit

    def verdict(self, value: float) -> str:
        if self.goal is not None and self.reaches(value, self.goal):
            return "beyond"
        if self.bar is not None:
            return "met" if self.reaches(value, self.bar) else "missed"
        return ""


def _isolation(connections: int) -> tuple[Check, ...]:
    clients = f"{connections} interactive client{'s' if connections > 1 else ''}"
    return (
        Check("isolation", f"p50_alone_{connections}", f"p50, {clients} alone", "ms"),
        Check("isolation", f"p50_flood_{connections}", f"p50, {clients} beside the flood", "ms"),
        Check("isolation", f"p99_alone_{connections}", f"p99, {clients} alone", "ms"),
        Check("isolation", f"p99_flood_{connections}", f"p99, {clients} beside the flood", "ms"),
        Check("isolation", f"p99_ratio_{connections}", f"p99 beside ÷ alone, {clients}", "", 3.0, 2.0),
        Check("isolation", f"bulk_{connections}", f"bulk beside {clients}", "texts/s"),
        Check("isolation", f"kept_{connections}", f"bulk kept beside {clients}", "", 0.85, is_lower_better=False),
    )


def _overload(size: str, title: str) -> tuple[Check, ...]:
    return (
        Check("overload", f"{size}_capacity", f"capacity, {title}", "requests/s"),
        Check("overload", f"{size}_offered", f"offered, {title}", "requests/s"),
        Check("overload", f"{size}_goodput", f"goodput ÷ capacity, {title}", "", 0.9, is_lower_better=False),
        Check("overload", f"{size}_polite", f"refusals that are 429 with Retry-After, {title}", "", 1.0, None, False),
        Check("overload", f"{size}_recovery_s", f"recovery, {title}", "s", 2.0),
        Check("overload", f"{size}_p99_ms", f"p99 of what is answered, {title}", "ms"),
        Check("overload", f"{size}_client_cpus", f"client CPUs, {title}", ""),
    )


INGEST: tuple[Check, ...] = (
    Check("ingest", "chunks", "corpus", "chunks"),
    Check("ingest", "tokens", "corpus", "tokens"),
    Check("ingest", "embed_tokens_per_s", "embed stage alone", "tokens/s"),
    Check("ingest", "engine_tokens_per_s", "bare engine, the same slices", "tokens/s"),
    Check("ingest", "embed_ratio", "embed stage ÷ bare engine", "", 0.9, is_lower_better=False),
    Check("ingest", "in_job_tokens_per_s", "in the whole job, first to last slice", "tokens/s"),
    Check("ingest", "in_job_ratio", "in the whole job ÷ bare engine", ""),
    Check("ingest", "in_job_engine_share", "of that time, the engine computing", ""),
    Check("ingest", "parse_alone_s", "parsing and chunking alone, one actor", "s"),
    Check("ingest", "embed_alone_s", "embedding alone", "s"),
    Check("ingest", "write_alone_s", "writing alone", "s"),
    Check("ingest", "start_s", "start, until the first file is parsed", "s"),
    Check("ingest", "work_s", "the whole job after its start", "s"),
    Check("ingest", "overlap", "job after its start ÷ slowest stage", "", 1.15),
    Check("ingest", "overlap_floor", "least that this machine's cores allow", ""),
    Check("ingest", "overlap_with_start", "job with its start ÷ slowest stage", ""),
    Check("ingest", "cores_busy", "cores busy during the job", ""),
    Check("ingest", "first_command_s", "the whole command, empty store", "s"),
    Check("ingest", "again_command_s", "the same command again", "s"),
    Check("ingest", "again_embedded", "again: chunks embedded", "", 0.0),
    Check("ingest", "again_job_ratio", "again ÷ first, the jobs", "", 0.1),
    Check("ingest", "again_command_ratio", "again ÷ first, the commands with their start", "", 0.1),
    Check("ingest_memory", "file_mib", "JSONL file", "MiB"),
    Check("ingest_memory", "chunks", "chunks embedded and stored", ""),
    Check("ingest_memory", "job_s", "the whole job", "s"),
    Check(
        "ingest_memory", "peak_rss_mib", "peak of all the job's processes, shared pages counted in each", "MiB", 4096.0
    ),
    Check("ingest_memory", "peak_private_mib", "the same without shared pages", "MiB"),
    Check("ingest_memory", "processes", "processes at the peak", ""),
)

CHECKS: tuple[Check, ...] = (
    Check("isolation", "bulk_alone", "bulk alone", "texts/s"),
    *_isolation(1),
    *_isolation(4),
    Check("wide", "router_us_ids", "Router CPU a vector, token ids", "µs", 20.0),
    Check("wide", "router_us_texts", "Router CPU a vector, texts", "µs", 20.0),
    Check("wide", "embedder_us_ids", "Embedder CPU a vector, token ids", "µs"),
    Check("wide", "request_s_ids", "one request, token ids", "s"),
    Check("wide", "request_s_texts", "one request, texts", "s"),
    *_overload("long", "16 texts of about 130 tokens a request"),
    Check("soak", "router_slope", "Router, growth after warm-up", "MiB/min", 1.0, 0.2),
    Check("soak", "embedder_slope", "Embedder, growth after warm-up", "MiB/min", 1.0, 0.2),
    Check("soak", "router_mib", "Router at the end", "MiB"),
    Check("soak", "embedder_mib", "Embedder at the end", "MiB"),
    Check("soak", "requests_per_s", "load", "requests/s"),
    *INGEST,
)
