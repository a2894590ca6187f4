"""What the figures have to reach, as functions of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.gpu.cases import Kind, Precision
from benchmarks.gpu.rows import GpuRow, mfu

Value = Callable[[Sequence[GpuRow]], float | None]
NOT_MEASURED = "not run"


@dataclass(frozen=True, slots=True)
class Bar:
    """`value` gives None while a row that it needs is missing."""

    title: str
    value: Value
    limit: float
    is_lower_better: bool = False

    def verdict(self, value: float | None) -> str:
        if value is None:
            return NOT_MEASURED
        return "met" if (value <= self.limit if self.is_lower_better else value >= self.limit) else "missed"


def latest(rows: Iterable[GpuRow]) -> list[GpuRow]:
    """Of every model, device, case and load the newest row."""
    return list({(row.model, row.device, row.case, row.load): row for row in rows}.values())


def chosen(rows: Sequence[GpuRow], model: str, kind: Kind, load: str, precision: Precision = "bf16") -> list[GpuRow]:
    """The latest rows of this load, whatever other settings the cases have."""
    return [
        row
        for row in latest(rows)
        if (row.model, row.load) == (model, load)
        and (row.settings["kind"], row.settings["precision"]) == (kind, precision)
    ]


def best(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def best_figure(
    rows: Sequence[GpuRow], model: str, kind: Kind, load: str, precision: Precision = "bf16"
) -> float | None:
    """Tokens a second, or requests a second of loads of single short texts."""
    figure = "requests_per_s" if load.startswith("short") else "tokens_per_s"
    return best(row.figures.get(figure) for row in chosen(rows, model, kind, load, precision))


def best_mfu(rows: Sequence[GpuRow], model: str, kind: Kind, load: str, precision: Precision = "bf16") -> float | None:
    return best(mfu(row, rows) for row in chosen(rows, model, kind, load, precision))


def _mfu(model: str, kind: Kind, load: str) -> Value:
    return lambda rows: best_mfu(rows, model, kind, load)


def _against_peer(model: str, load: str) -> Value:
    return lambda rows: _ratio(best_figure(rows, model, "product", load), best_figure(rows, model, "peer", load))


def _gain_of_fp8(model: str) -> Value:
    return lambda rows: _ratio(
        best_figure(rows, model, "engine", "ids-512", "fp8"), best_figure(rows, model, "engine", "ids-512")
    )


def _least_cosine(model: str) -> Value:
    return lambda rows: best(row.figures.get("cosine_least") for row in chosen(rows, model, "engine", "vectors", "fp8"))


def _flood(model: str, figure: str) -> Value:
    return lambda rows: best(row.figures.get(figure) for row in chosen(rows, model, "product", "flood"))


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


BARS: tuple[Bar, ...] = (
    Bar("4B, 512 tokens, bare engine: MFU", _mfu("4B", "engine", "ids-512"), 0.70),
    Bar("4B, 512 tokens, HTTP: MFU", _mfu("4B", "product", "ids-512"), 0.65),
    Bar("4B, 512 tokens, embed stage of an ingestion: MFU", _mfu("4B", "product", "embed-512"), 0.68),
    Bar("4B, a whole `embedctl ingest`, first to last slice: MFU", _mfu("4B", "product", "job"), 0.68),
    Bar("0.6B, 512 tokens, HTTP: MFU", _mfu("0.6B", "product", "ids-512"), 0.45),
    Bar("4B, 512 tokens, fp8 ÷ bf16", _gain_of_fp8("4B"), 1.5),
    Bar("4B, fp8 to bf16: least cosine of 64 texts", _least_cosine("4B"), 0.99),
    Bar("4B, 32 tokens, HTTP ÷ vLLM's API server", _against_peer("4B", "ids-32"), 1.2),
    Bar("4B, 128 tokens, HTTP ÷ vLLM's API server", _against_peer("4B", "ids-128"), 1.2),
    Bar("4B, 512 tokens, HTTP ÷ vLLM's API server", _against_peer("4B", "ids-512"), 1.0),
    Bar("4B, interactive p99 beside a flood ÷ alone", _flood("4B", "p99_ratio_4"), 2.0, is_lower_better=True),
    Bar("4B, bulk kept beside interactive requests", _flood("4B", "kept_4"), 0.85),
    Bar(
        "0.6B, one short text a request: requests/s, 1,200 being claimed of an A10",
        lambda rows: best_figure(rows, "0.6B", "product", "short-256"),
        1200,
    ),
)
