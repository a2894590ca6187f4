"""What a run would do and cost: files read and cut for real, nothing embedded and nothing written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ingest.embedding.base import describe
from ingest.embedding.rate import measured_tokens_per_s
from ingest.pipeline import parsed, rows_of
from ingest.rows import CHUNK, END, PROBLEM
from ingest.run import units_of
from ingest.settings import IngestSettings
from ingest.sources.base import Discovery, Skipped
from ingest.tenancy import identity
from ingest.work import IngestJob, StageSetup

HNSW_LINKS = 16  # M, as the collections are made
LINK_BYTES = 4
BYTES_PER_DIMENSION = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "binary": 1 / 8}


@dataclass(slots=True)
class Estimate:
    files: int
    dimensions: int
    tokens_per_s: float | None  # of the cluster, measured; None: it has computed nothing yet
    skipped: tuple[Skipped, ...] = ()
    chunks: int = 0
    tokens: int = 0
    text_bytes: int = 0
    duplicates: int = 0  # chunks whose text another chunk has
    pii: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def seconds(self) -> float | None:
        return self.tokens / self.tokens_per_s if self.tokens_per_s else None

    def index_bytes(self, vector_type: str) -> float:
        """Vectors and the HNSW graph's lowest layer, two lists of M links; without the texts."""
        vector = self.dimensions * BYTES_PER_DIMENSION[vector_type]
        return self.chunks * (vector + 2 * HNSW_LINKS * LINK_BYTES)

    def show(self, console: Console) -> None:
        table = Table(title="Dry run: nothing was embedded, nothing was written", show_header=False, min_width=44)
        table.add_row("files", f"{self.files:,}")
        table.add_row("  left out", f"{self.reasons.total():,}")
        table.add_row("chunks", f"{self.chunks:,}")
        table.add_row("  exact duplicates", f"{self.duplicates:,}")
        table.add_row("tokens", f"{self.tokens:,}")
        table.add_row("text", _size(self.text_bytes))
        table.add_row("time to embed", self._time())
        for name in BYTES_PER_DIMENSION:
            table.add_row(f"index, {name}", _size(self.index_bytes(name)))
        for entity, number in sorted(self.pii.items()):
            table.add_row(f"personal data: {escape(entity)}", f"{number:,}")
        for reason, number in self.reasons.most_common():
            table.add_row(f"left out: {escape(reason)}", f"{number:,}")
        console.print(table)

    def _time(self) -> str:
        if self.seconds is None:
            return "unknown: the cluster has computed nothing yet"
        return f"about {self.seconds:,.0f} s at {self.tokens_per_s:,.0f} tokens/s"


def estimate(job: IngestJob, found: Discovery, settings: IngestSettings, console: Console) -> Estimate:
    """Needs a process that is connected to Ray. Looks at every file that is found, also at unchanged ones."""
    served = describe(job.address)
    size = served.size(settings.dimensions)
    # A masker with a vault would keep the originals of its tokens.
    settings = settings.model_copy(update={"mask": settings.mask.model_copy(update={"vault": None})})
    setup = StageSetup(settings, job.address, served, "", "", job.tenant, "", job.mask_secret)
    units = units_of({identity(job.tenant, file.uri): file for file in found.files})
    result = Estimate(len(found.files), size, measured_tokens_per_s(job.address, served), found.skipped)
    seen: set[bytes] = set()
    rows = rows_of(parsed(units, setup).select_columns(["kind", "reason", "tokens", "text", "context", "pii"]))
    for row in track(rows, "reading", console=console, transient=True):
        _count(row, result, seen)
    return result


def _count(row: dict[str, object], result: Estimate, seen: set[bytes]) -> None:
    if row["kind"] == PROBLEM:
        result.reasons[str(row["reason"])] += 1
    elif row["kind"] == END:
        result.pii.update(json.loads(str(row["pii"])))
    elif row["kind"] == CHUNK:
        content = f"{row['context']}\n{row['text']}".encode("utf-8", "surrogatepass")
        result.chunks += 1
        result.tokens += int(str(row["tokens"]))
        result.text_bytes += len(content)
        mark = hashlib.sha256(content).digest()[:12]
        result.duplicates += mark in seen
        seen.add(mark)


def _size(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"
