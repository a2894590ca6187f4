"""How the product and vLLM's own API server are started for a case."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import launch
from benchmarks.contestants import Server
from benchmarks.gpu.cases import Case, Scale
from benchmarks.gpu.device import has_gpu
from benchmarks.gpu.engine import engine_settings
from benchmarks.gpu.shapes import read_shape
from benchmarks.launch import PEER_PORT, VLLM_ENVIRONMENT, ServerCommand
from benchmarks.processes import HOST, free_port
from benchmarks.rows import versions_of
from serve_app.core.errors import SetupError

# Part of what names vLLM's cache of compiled code: with the product's value the peer finds what the engine compiled.
PEER_ENVIRONMENT = {**VLLM_ENVIRONMENT, "VLLM_CONFIGURE_LOGGING": "0"}


def start_product(stack: ExitStack, case: Case, model: Path, scale: Scale) -> Server:
    """`embedctl serve` with the case's engine and Routers."""
    engine = engine_settings(case, scale).model_dump(mode="json", exclude_unset=True)
    served: dict[str, Any] = {"path": str(model), "engine": engine, "replicas": case.replicas}
    if has_gpu():
        served["gpus_per_replica"] = 1 / case.replicas
    return launch.start_cluster(stack, model, {"models": [served], "router": {"replicas": case.processes}})


def start_peer(stack: ExitStack, case: Case, model: Path, scale: Scale) -> Server:
    """vLLM's API server with the same engine. Only its command line can start several API processes.

    Raises SetupError where that is needed and the installed vLLM, one for CPUs, has no such command.
    """
    port = free_port(PEER_PORT)
    arguments: tuple[str, ...] = ("-m", "vllm.entrypoints.openai.api_server", "--model", str(model))
    if case.processes > 1:
        if not versions_of("vllm"):
            raise SetupError("Several API processes need `vllm serve`, which this build of vLLM does not have.")
        arguments = ("-m", "vllm.entrypoints.cli.main", "serve", str(model))
        arguments += ("--api-server-count", str(case.processes))
    where = ("--served-model-name", model.name, "--host", HOST, "--port", str(port))
    command = (*arguments, *where, *peer_options(case, scale, read_shape(model).max_tokens))
    return launch.start_server(stack, ServerCommand(case.title, command, port, "/health", PEER_ENVIRONMENT), model)


def peer_options(case: Case, scale: Scale, most_tokens: int) -> tuple[str, ...]:
    """What the product tells its engine, as vLLM's options; documents share no prefix here either."""
    engine = engine_settings(case, scale)
    options: tuple[str, ...] = (
        *("--runner", "pooling", "--dtype", engine.dtype, "--max-model-len", str(most_tokens)),
        *("--max-num-batched-tokens", str(engine.step_tokens), "--max-num-seqs", str(engine.step_texts)),
        *("--gpu-memory-utilization", str(engine.gpu_memory_share)),
        *("--no-enable-prefix-caching", "--disable-uvicorn-access-log"),
    )
    options += () if engine.compile else ("--enforce-eager",)
    return options if engine.quantization is None else (*options, "--quantization", engine.quantization)
