"""What can be measured, in order of worth. Pure data: it starts nothing.

A case is one start of an engine or a server, in a process of its own; its loads follow one another there, and each of
them gives one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from serve_app.core.errors import SetupError

Kind = Literal["ceilings", "engine", "product", "peer"]
Precision = Literal["bf16", "fp8"]
LENGTHS = (512, 128, 32, 2048, 8192)
MIXED = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # one text of each: octaves, as corpora have many short texts
PARALLEL = (1, 4, 16, 64, 256)  # requests of one short text
GRAPH_SIZES = (*range(8, 257, 8), *range(272, 513, 16), 1024, 2048, 4096, 8192, 16_384)
NO_GRAPHS = {"compilation_config": {"cudagraph_mode": "NONE"}}


@dataclass(frozen=True, slots=True)
class Case:
    """`processes` are Router replicas of the product or API processes of the peer; `step_tokens` of the engine.

    `replicas` of the product share the one GPU.

    `arguments` are further ones of vLLM's EngineArgs, which only the bare engine takes.
    """

    name: str
    title: str
    kind: Kind
    loads: tuple[str, ...]
    precision: Precision = "bf16"
    step_tokens: int = 16_384
    processes: int = 1
    replicas: int = 1
    is_compiled: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What tells its rows from those of another case."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "title", "loads")}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is asked at once. `step_divisor` shortens the engine's steps for a machine that is a GPU's fraction."""

    seconds: float = 6.0
    request_tokens: int = 8192
    connections: int = 16
    step_texts: int = 512
    step_divisor: int = 1
    job_tokens_least: int = 200_000


QUICK = Scale(1.5, 1024, 2, 64, 16, 4_000)


def length_loads(form: str, lengths: Sequence[int] = LENGTHS) -> tuple[str, ...]:
    return (*(f"{form}-{length}" for length in lengths), f"{form}-mixed")


_ENGINE = length_loads("ids")
_SHORT = tuple(f"short-{number}" for number in PARALLEL)
_HTTP = (*length_loads("ids"), "text-512")
_TRY = ("ids-512", "ids-32")

CASES: tuple[Case, ...] = (
    Case("ceilings", "what the device gives to plain products and copies", "ceilings", ("ceilings",)),
    Case("engine", "bare engine", "engine", (*_ENGINE, "alone-32", "vectors")),
    Case(
        "product-4",
        "HTTP, 4 Routers",
        "product",
        (*_HTTP, "flood", "embed-512", "job", *_SHORT, "text-32"),
        processes=4,
    ),
    Case("peer-1", "vLLM's API server, 1 process", "peer", (*_HTTP, *_SHORT)),
    Case("peer-4", "vLLM's API server, 4 processes", "peer", (*_HTTP, *_SHORT), processes=4),
    Case("engine-fp8", "bare engine, fp8", "engine", (*_ENGINE, "vectors"), "fp8"),
    Case("product-8", "HTTP, 8 Routers", "product", (*_TRY, "ids-128", "text-512", *_SHORT), processes=8),
    Case("product-1", "HTTP, 1 Router", "product", (*_TRY, "ids-128", "text-512", *_SHORT)),
    Case("product-2", "HTTP, 2 Routers", "product", (*_TRY, "text-512", *_SHORT), processes=2),
    Case(
        "product-shared",
        "HTTP, 4 Routers, 2 replicas on one GPU",
        "product",
        (*_TRY, "ids-128", *_SHORT),
        processes=4,
        replicas=2,
    ),
    Case("product-fp8", "HTTP, 4 Routers, fp8", "product", (*length_loads("ids"), "embed-512"), "fp8", processes=4),
    Case("engine-32k", "bare engine, steps of 32k tokens", "engine", _ENGINE, step_tokens=32_768),
    Case("engine-8k", "bare engine, steps of 8k tokens", "engine", _ENGINE, step_tokens=8192),
    Case("engine-4k", "bare engine, steps of 4k tokens", "engine", _ENGINE, step_tokens=4096),
    Case(
        "engine-async",
        "bare engine, next step prepared meanwhile",
        "engine",
        _TRY,
        arguments={"async_scheduling": True},
    ),
    Case(
        "engine-no-graphs", "bare engine, compiled, no CUDA graphs", "engine", (*_TRY, "alone-32"), arguments=NO_GRAPHS
    ),
    Case(
        "engine-large-graphs",
        "bare engine, CUDA graphs up to a whole step",
        "engine",
        (*_TRY, "alone-32"),
        arguments={"cudagraph_capture_sizes": list(GRAPH_SIZES)},
    ),
    Case(
        "engine-large-blocks",
        "bare engine, keys and values in blocks of 128 tokens",
        "engine",
        ("ids-512", "ids-8192"),
        arguments={"block_size": 128},
    ),
    Case("engine-eager", "bare engine, not compiled", "engine", (*_TRY, "alone-32"), is_compiled=False),
)
QUICK_LOADS: dict[Kind, tuple[str, ...]] = {
    "ceilings": ("ceilings",),
    "engine": ("ids-32", "ids-512", "ids-mixed", "alone-32", "vectors"),
    "product": ("ids-32", "text-512", "flood", "embed-512", "job", "short-1", "short-4"),
    "peer": ("ids-32", "text-512", "short-1", "short-4"),
}


def choose(names: Sequence[str], loads: Sequence[str] = ()) -> tuple[Case, ...]:
    """The named cases in order of worth, with the named loads; none named means all.

    A name may hold `*`, as a file's may. Raises SetupError for one that means nothing.
    """
    _check(names, [case.name for case in CASES], "case")
    _check(loads, [load for case in CASES for load in case.loads], "load")
    found = (case for case in CASES if not names or _is_meant(case.name, names))
    wanted = (replace(case, loads=_meant(case.loads, loads)) for case in found)
    return tuple(case for case in wanted if case.loads)


def quick(chosen: Sequence[Case]) -> tuple[Case, ...]:
    """Of each kind the first case, with a few of its loads, in short steps and not compiled."""
    first = {case.kind: case for case in reversed(chosen)}
    small = (
        replace(case, processes=1, replicas=1, is_compiled=False, arguments={})
        for case in chosen
        if first[case.kind] is case
    )
    return tuple(
        replace(case, loads=tuple(load for load in QUICK_LOADS[case.kind] if load in case.loads)) for case in small
    )


def lengths_of(load: str, most_tokens: int) -> tuple[int, ...]:
    """Lengths of the texts that `ids-…`, `text-…` or `embed-…` is made of, in tokens; none if they are too long."""
    name = load.rpartition("-")[2]
    lengths = MIXED if name == "mixed" else (int(name),)
    return tuple(length for length in lengths if length <= most_tokens)


def _check(patterns: Sequence[str], known: Sequence[str], word: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise SetupError(f"There is no {word} {pattern}; {word}s: {', '.join(dict.fromkeys(known))}.")


def _meant(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not patterns or _is_meant(name, patterns))


def _is_meant(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
