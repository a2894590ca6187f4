"""How each contestant is started. Everything started here is stopped when the caller's ExitStack closes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants import BareEngine, Server, read_object
from benchmarks.load import Target
from benchmarks.processes import HOST, START_LIMIT_S, free_port, start, stop, tail, wait_until_ready
from serve_app.core.errors import SetupError

CLUSTER = "cluster"
CORES = os.cpu_count() or 1
CLUSTER_PORT, PEER_PORT = 8410, 8420
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
ENGINE_THREADS = sorted({CORES, max(1, CORES - 1)})  # all cores, or as many as a replica of the cluster takes


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """What to run to get a server, and the address that answers 200 once it can embed."""

    label: str
    arguments: tuple[str, ...]
    port: int
    ready_path: str
    environment: Mapping[str, str] = field(default_factory=dict)


def build_checkpoint(directory: Path) -> Path:
    """The tiny Qwen3 of the tests, built in a process of its own so that this one stays small."""
    model, log = directory / "tiny", directory / "checkpoint.log"
    with ExitStack() as stack:
        process = start(["-m", "tests.tiny_qwen3", str(model)], {}, log)
        stack.callback(stop, process)
        if process.wait(START_LIMIT_S) != 0:
            raise SetupError(f"The checkpoint was not built:\n{tail(log)}")
    return model


def start_cluster(stack: ExitStack, model: Path) -> Server:
    """`embedctl serve`, as a user would start it."""
    port = free_port(CLUSTER_PORT)
    arguments = ("-m", "cluster.cli", "serve", "--model", str(model), "--port", str(port))
    return _start(stack, ServerCommand(CLUSTER, arguments, port, "/ready"), model)


def start_vllm(stack: ExitStack, setting: str, model: Path) -> Server:
    """vLLM's API server in one of VLLM_SETTINGS."""
    port = free_port(PEER_PORT)
    where = ("--model", str(model), "--served-model-name", model.name, "--host", HOST, "--port", str(port))
    arguments = ("-m", "vllm.entrypoints.openai.api_server", *where, *VLLM_OPTIONS, *VLLM_SETTINGS[setting])
    return _start(stack, ServerCommand(setting, arguments, port, "/health", VLLM_ENVIRONMENT), model)


def start_engine(stack: ExitStack, threads: int, model: Path) -> BareEngine:
    """vLLM's LLMEngine alone, on one of ENGINE_THREADS."""
    log, started = model.with_name(f"engine-{threads}.log"), time.monotonic()
    process = start(["-m", "benchmarks.engine_process", str(model), str(threads)], {}, log, has_pipes=True)
    stack.callback(stop, process)
    read_object(process, START_LIMIT_S, log)
    return BareEngine(f"bare engine on {threads} of {CORES} cores", process, time.monotonic() - started, log)


def _start(stack: ExitStack, command: ServerCommand, model: Path) -> Server:
    endpoint, log = f"http://{HOST}:{command.port}", model.with_name(f"{command.port}.log")
    started = time.monotonic()
    process = start(command.arguments, command.environment, log)
    stack.callback(stop, process)
    wait_until_ready(process, endpoint + command.ready_path, log)
    return Server(command.label, Target(endpoint, model.name), process, time.monotonic() - started)
