"""The table of sizes in docs/operations.md, made from the plan. Run it as a module to write it anew."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log10
from pathlib import Path

from cluster.config import ClusterConfig
from cluster.hardware import Gpu
from cluster.plan.gpus import GPUS
from cluster.plan.model_sizes import known_size
from cluster.plan.plans import totals
from cluster.plan.sizing import plan

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- sizes: begin -->", "<!-- sizes: end -->"
MODELS = ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Embedding-4B", "Qwen/Qwen3-Embedding-8B")
GPUS_PER_NODE = 8
NODE = {"gpus_per_node": GPUS_PER_NODE, "cpus_per_node": 96, "memory_gib_per_node": 1024}
HEADER = (
    "| GPU | model | replicas on GPUs | tokens/s of a GPU, estimated | $ for a million tokens, estimated |",
    "|---|---|---|---|---|",
)


def table() -> str:
    """One row for each kind of GPU and each size of the model."""
    return "\n".join([*HEADER, *(_row(gpu, path) for gpu, path in _cases())]) + "\n"


def written() -> str:
    """What the page has between its marks."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def _cases() -> Iterator[tuple[Gpu, str]]:
    return ((gpu, path) for gpu in GPUS for path in MODELS)


def _row(gpu: Gpu, path: str) -> str:
    config = ClusterConfig.model_validate({"hardware": {"gpu": gpu, **NODE}, "models": [{"path": path}]})
    made = plan(config, {path: known_size(path)})
    (model,), node = made.models, totals(made, most=False)
    assert node is not None
    assert node.tokens_per_s is not None
    assert node.cost_per_million_tokens is not None
    cells = (
        GPUS[gpu].title,
        path.rpartition("-")[2],
        f"{max(1, round(1 / model.gpus))} on {max(1, round(model.gpus))}",
        f"{_two_digits(node.tokens_per_s / GPUS_PER_NODE):,.0f}",
        f"{_two_digits(node.cost_per_million_tokens):.2g}",
    )
    return f"| {' | '.join(cells)} |"


def _two_digits(number: float) -> float:
    """An estimate pretends no more."""
    return round(number, 1 - floor(log10(number)))


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
