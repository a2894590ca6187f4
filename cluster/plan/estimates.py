"""What one replica needs and how fast it should be: arithmetic on data sheets, with every assumption by its name."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cluster.plan.gpus import GpuKind
from cluster.plan.model_sizes import ModelSize
from serve_app.settings import ModelSettings

GIB = 2**30
GPU_STEP_TOKENS = 16_384  # the most: fills an H200-class GPU with a 4B model
CPU_STEP_TOKENS = 1_536  # activations of a step still fit the caches

# Assumptions. They are round figures to size a cluster by; `embedctl status` and the benchmarks say what it does.
ASSUMED_MFU = 0.5  # part of a GPU's peak arithmetic that full steps reach
FP8_GAIN = 1.5  # over bfloat16, on GPUs that compute in 8 bits
SPLIT_EFFICIENCY = 0.85  # of GPUs that exchange activations in every layer
ENGINE_TOKENS_PER_S = 500_000  # what one engine's own work on the host keeps up with
CORE_FLOPS = 50e9  # of one CPU core with AVX-512; with AMX several times that
STEP_S = 0.25  # an interactive text may have to wait for one step
ACTIVATION_BYTES = 36  # of a token in a step, for each unit of hidden size: three feed-forward rows and the residual
GPU_RUNTIME_GIB = 1.0  # inside vLLM's share of a GPU: compiled graphs, workspaces
GPU_CONTEXT_GIB = 1.5  # outside it, for every process: the driver's context, fragments
CPU_RUNTIME_GIB = 1.5  # of a replica's process on a CPU: torch, vLLM, compiled code
HOST_GIB = 4.0  # main memory of a replica on a GPU, and of each further GPU it is split over
ROUTER_GIB = 0.5  # of a Router, beside its cache
NODE_GIB = 1.5  # of a node, for Ray and what it holds between processes


@dataclass(frozen=True, slots=True)
class ReplicaMemory:
    """GiB on each GPU of a replica, or in main memory for a replica on a CPU."""

    weights: float
    kv_cache: float
    activations: float
    runtime: float

    @property
    def total(self) -> float:
        return self.weights + self.kv_cache + self.activations + self.runtime


def memory_of(model: ModelSettings, size: ModelSize, step_tokens: int, on_gpu: bool) -> ReplicaMemory:
    """The least a replica runs with: the longest text beside a full step."""
    engine, split = model.engine, model.tensor_parallel
    wide = 2 if engine.dtype == "float32" else 1
    longest = min(size.max_tokens, engine.max_tokens or size.max_tokens)
    kv_cache = (longest + step_tokens) * size.kv_bytes_per_token * wide / split / GIB
    if engine.kv_cache_gib is not None and not on_gpu:
        kv_cache = engine.kv_cache_gib
    return ReplicaMemory(
        weights=size.weight_bytes(engine.dtype, engine.quantization) / split / GIB,
        kv_cache=kv_cache,
        activations=max(step_tokens, longest if not size.kv_bytes_per_token else 0)
        * size.dimensions
        * ACTIVATION_BYTES
        * wide
        / GIB,
        runtime=GPU_RUNTIME_GIB if on_gpu else CPU_RUNTIME_GIB,
    )


def gpu_tokens_per_s(model: ModelSettings, size: ModelSize, gpu: GpuKind) -> float:
    """What the GPUs of one replica compute in full steps: peak arithmetic × ASSUMED_MFU ÷ operations of a token.

    A replica does at most ENGINE_TOKENS_PER_S of it.
    """
    peak = gpu.float32_tflops if model.engine.dtype == "float32" else gpu.bf16_tflops or 0.0
    gain = FP8_GAIN if model.engine.quantization == "fp8" and gpu.has_fp8 else 1.0
    gpus = model.gpus_per_replica if model.tensor_parallel == 1 else model.tensor_parallel * SPLIT_EFFICIENCY
    return peak * 1e12 * ASSUMED_MFU * gain * gpus / size.flops_per_token


def cpu_tokens_per_s(size: ModelSize, threads: int) -> float:
    return threads * CORE_FLOPS / size.flops_per_token


def memory_share(gpu: GpuKind, replicas_per_gpu: int) -> float:
    """The part of a GPU that its replicas may take together, in hundredths."""
    return min(0.95, int(100 * (1 - replicas_per_gpu * GPU_CONTEXT_GIB / gpu.memory_gib)) / 100)


def step_choices(tokens_per_s: float, gpu: GpuKind, float32: bool) -> list[int]:
    """Tokens of a step, best first: as many as STEP_S allows, then fewer for GPUs with little room.

    Not fewer than four times what the GPU computes in the time it reads a weight: below that, reading the weights would
    take a good part of a step.
    """
    peak = gpu.float32_tflops if float32 else gpu.bf16_tflops or 0.0
    least = max(512, power_of_two(4 * peak * 1e3 / gpu.bandwidth_gb_s))
    best = max(least, min(GPU_STEP_TOKENS, power_of_two(tokens_per_s * STEP_S) // 2))
    choices = [best]
    while choices[-1] > least:
        choices.append(choices[-1] // 2)
    return choices


def power_of_two(number: float) -> int:
    """The smallest one that is not below `number`, at least 1."""
    return 1 << max(0, ceil(number) - 1).bit_length()
