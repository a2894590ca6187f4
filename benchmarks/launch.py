"""How each contestant is started. Everything started here is stopped when the caller's ExitStack closes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.cases import Opponent
from benchmarks.contestants import BareEngine, Server, read_object
from benchmarks.load import Target
from benchmarks.processes import HOST, START_LIMIT_S, free_port, start, stop, tail, wait_until_ready, wait_until_said
from benchmarks.rows import ROOT
from serve_app.core.errors import SetupError

CLUSTER = "cluster"
CORES = os.cpu_count() or 1
CLUSTER_PORT, PEER_PORT = 8410, 8420
CACHE = ROOT / ".cache"  # kept between runs, so that what is compiled for the checkpoint is found again
INFINITY = CACHE / "peers" / "infinity"  # made by benchmarks/peers/setup.sh
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, what one replica of the cluster has by default
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
VLLM_OPTIONS = (  # the step sizes and the context of the cluster's engine, and no line of log a request
    *("--runner", "pooling", "--dtype", "bfloat16"),
    *("--max-num-batched-tokens", "4096", "--max-num-seqs", "256", "--max-model-len", "2048"),
    *("--hf-overrides", '{"is_matryoshka":true}', "--disable-uvicorn-access-log"),
)
# Which one is faster depends on the machine and on the load, so every case is judged against the best candidate.
VLLM_SETTINGS = {"vLLM API server, eager": ("--enforce-eager",), "vLLM API server, torch.compile": ()}
RAY_WORKER_ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}  # no handicap: Ray's default is 15
RAY_SERVE_LLM_SETTINGS = {
    "Ray Serve LLM": {},
    "Ray Serve LLM, HAProxy": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
}
RAY_SERVE_LLM_READY = "ready to embed"  # its ingress answers before its engine is there
INFINITY_OPTIONS = (  # bettertransformer is gone from today's transformers
    *("--engine", "torch", "--device", "cpu", "--dtype", "bfloat16", "--no-bettertransformer", "--no-compile"),
    *("--url-prefix", "/v1", "--log-level", "warning"),
)
ENGINE_THREADS = sorted({CORES, max(1, CORES - 1)})  # all cores, or as many as a replica of the cluster takes


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """What to run to get a server, and the address that answers 200 once it can embed.

    Where no address is honest about that, `ready_words` are what the server prints then.
    """

    label: str
    arguments: tuple[str, ...]
    port: int
    ready_path: str
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = sys.executable
    counts_tokens: bool = True
    ready_words: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which tiny checkpoint; `name` is its directory's and the served model's. `options` go to tests.tiny_qwen3."""

    name: str
    options: tuple[str, ...] = ()


TINY = Shape("tiny-embed")
THIN = Shape("thin-embed", ("--hidden", "64", "--layers", "1", "--intermediate", "64"))
WIDE = Shape("wide-embed", ("--hidden", "2560", "--layers", "1", "--intermediate", "256"))


def build_checkpoint(directory: Path, shape: Shape = TINY) -> Path:
    """A tiny Qwen3 of the tests, built in a process of its own so that this one stays small."""
    directory.mkdir(parents=True, exist_ok=True)
    model, log = directory / shape.name, directory / "checkpoint.log"
    with ExitStack() as stack:
        process = start(["-m", "tests.tiny_qwen3", str(model), *shape.options], {}, log)
        stack.callback(stop, process)
        if process.wait(START_LIMIT_S) != 0:
            raise SetupError(f"The checkpoint was not built:\n{tail(log)}")
    return model


def start_cluster(stack: ExitStack, model: Path, config: Mapping[str, object] | None = None) -> Server:
    """`embedctl serve`, as a user would start it; `config` is what its cluster.yaml holds."""
    port = free_port(CLUSTER_PORT)
    file = model.with_name(f"{port}.yaml")
    file.write_text(yaml.safe_dump(dict(config or {})), encoding="utf-8")
    options = ("--config", str(file), "--model", str(model), "--port", str(port))
    arguments = ("-m", "cluster.cli", "serve", *options)
    return start_server(stack, ServerCommand(CLUSTER, arguments, port, "/ready"), model)


def start_vllm(stack: ExitStack, setting: str, model: Path) -> Server:
    """vLLM's API server in one of VLLM_SETTINGS."""
    port = free_port(PEER_PORT)
    where = ("--model", str(model), "--served-model-name", model.name, "--host", HOST, "--port", str(port))
    arguments = ("-m", "vllm.entrypoints.openai.api_server", *where, *VLLM_OPTIONS, *VLLM_SETTINGS[setting])
    return start_server(stack, ServerCommand(setting, arguments, port, "/health", VLLM_ENVIRONMENT), model)


def start_ray_serve_llm(stack: ExitStack, setting: str, model: Path) -> Server:
    """Ray Serve LLM in one of RAY_SERVE_LLM_SETTINGS, in a Ray cluster of its own."""
    port = free_port(PEER_PORT)
    arguments = ("-m", "benchmarks.peers.ray_serve_llm", str(model), str(port))
    environment = VLLM_ENVIRONMENT | RAY_WORKER_ENVIRONMENT | RAY_SERVE_LLM_SETTINGS[setting]
    command = ServerCommand(setting, arguments, port, "/v1/models", environment, ready_words=RAY_SERVE_LLM_READY)
    return start_server(stack, command, model)


def start_infinity(stack: ExitStack, model: Path) -> Server:
    """Infinity with torch. Its `usage` counts characters."""
    port = free_port(PEER_PORT)
    where = ("--model-id", str(model), "--served-model-name", model.name, "--host", HOST, "--port", str(port))
    environment = {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    command = ServerCommand(
        "Infinity, torch",
        ("v2", *where, *INFINITY_OPTIONS),
        port,
        "/health",
        environment,
        program=str(INFINITY / "bin" / "infinity_emb"),
        counts_tokens=False,
    )
    return start_server(stack, command, model)


def missing(opponent: Opponent) -> str:
    """Why this opponent cannot be started here, and what to do; empty if it can."""
    if opponent == "infinity" and not (INFINITY / ".ready").exists():
        return "Infinity has no environment here: run `bash benchmarks/peers/setup.sh infinity`."
    return ""


def start_engine(stack: ExitStack, threads: int, model: Path) -> BareEngine:
    """vLLM's LLMEngine alone, on one of ENGINE_THREADS."""
    log, started = model.with_name(f"engine-{threads}.log"), time.monotonic()
    process = start(["-m", "benchmarks.engine_process", str(model), str(threads)], {}, log, has_pipes=True)
    stack.callback(stop, process)
    read_object(process, START_LIMIT_S, log)
    return BareEngine(f"bare engine on {threads} of {CORES} cores", process, time.monotonic() - started, log)


def start_server(stack: ExitStack, command: ServerCommand, model: Path) -> Server:
    """Returns once it is ready. Its log lies beside the checkpoint, named after the port."""
    endpoint, log = f"http://{HOST}:{command.port}", model.with_name(f"{command.port}.log")
    started = time.monotonic()
    process = start(command.arguments, command.environment, log, program=command.program)
    stack.callback(stop, process)
    if command.ready_words:
        wait_until_said(process, command.ready_words, log)
    wait_until_ready(process, endpoint + command.ready_path, log)
    ready_s = time.monotonic() - started
    return Server(command.label, Target(endpoint, model.name), process, ready_s, command.counts_tokens)
