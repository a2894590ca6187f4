"""vLLM behind the engine port. The only file that imports vllm."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Priority, TokenIds
from serve_app.settings import ModelSettings

GPU_STEP_TOKENS = 16_384  # fills an H200-class GPU with a 4B model
CPU_STEP_TOKENS = 1_536  # activations of a step still fit the caches: docs/LOG.md, 2026-11-22
CPU_BLOCK_TOKENS = 128  # vLLM's KV block on a CPU
KV_SLACK_BYTES = 64 * 2**20


class VllmEngine:
    """One in-process vLLM engine. Construct it and call it from any threads, but never from two at once."""

    def __init__(self, settings: ModelSettings, profile: ModelProfile) -> None:
        _prepare_process(settings)
        try:
            from vllm.engine.arg_utils import EngineArgs
            from vllm.pooling_params import PoolingParams
            from vllm.v1.engine.llm_engine import LLMEngine
        except ImportError as error:
            raise SetupError(
                "vLLM is not installed: install the extra `cpu` or `gpu`, for example pip install 'embed-cluster[cpu]'."
            ) from error
        engine = settings.engine
        on_gpu = settings.gpus_per_replica > 0
        if not on_gpu:
            _reuse_compiled_code()
        step_tokens = engine.step_tokens or (GPU_STEP_TOKENS if on_gpu else CPU_STEP_TOKENS)
        if profile.pooling != "last":  # such a text is computed whole, never in pieces
            step_tokens = max(step_tokens, profile.max_tokens)
        args = EngineArgs(
            model=profile.path,
            runner="pooling",
            dtype=engine.dtype,
            max_model_len=profile.max_tokens,
            max_num_batched_tokens=step_tokens,
            max_num_seqs=engine.step_texts,
            scheduling_policy="priority",
            enable_prefix_caching=False,  # documents share no prefix; hashing every block would cost and never pay
            enforce_eager=not engine.compile,
            gpu_memory_utilization=engine.gpu_memory_share * min(1.0, settings.gpus_per_replica or 1.0),
            kv_cache_memory_bytes=None if on_gpu else _kv_cache_bytes(settings, profile, step_tokens),
            disable_log_stats=True,
        )
        self._engine = LLMEngine.from_engine_args(args)
        self._params = PoolingParams(task="embed")
        self._step_tokens = step_tokens
        self._dimensions = profile.native_dimensions

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def step_tokens(self) -> int:
        return self._step_tokens

    def add(self, key: int, ids: TokenIds, priority: Priority) -> None:
        prompt = {"type": "token", "prompt_token_ids": ids.tolist()}
        self._engine.add_request(str(key), prompt, self._params, priority=int(priority))

    def step(self) -> Sequence[tuple[int, NDArray[np.float32]]]:
        return [
            (int(output.request_id), output.outputs.data.float().numpy())
            for output in self._engine.step()
            if output.finished
        ]

    def drop(self, keys: Sequence[int]) -> None:
        self._engine.abort_request([str(key) for key in keys])

    def close(self) -> None:
        self._engine.engine_core.shutdown()


def _prepare_process(settings: ModelSettings) -> None:
    """vLLM is configured through its process's environment, and only before it is imported."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine runs in this process (ADR 2)
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if settings.gpus_per_replica == 0:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a spinning thread would take its core from the Router
        cores = len(os.sched_getaffinity(0)) // settings.replicas
        os.environ["OMP_NUM_THREADS"] = str(settings.engine.threads or max(1, cores))


def _reuse_compiled_code() -> None:
    """Let vLLM 0.32 load from its cache what it compiled for a CPU before, instead of compiling at every start.

    It ends the loading with `finalize_loading`, which the cached functions of its CPU path do not have.
    """
    from torch import compiler

    load: Callable[..., Any] | None = getattr(compiler, "load_compiled_function", None)  # missing before torch 2.10
    if load is None:
        return

    def load_and_complete(*arguments: Any, **options: Any) -> Any:
        loaded = load(*arguments, **options)
        function = loaded._artifacts.compiled_fn
        if not hasattr(function, "finalize_loading"):
            function.finalize_loading = lambda _config: None
        return loaded

    compiler.load_compiled_function = load_and_complete


def _kv_cache_bytes(settings: ModelSettings, profile: ModelProfile, step_tokens: int) -> int:
    """What was configured, else room for the longest text beside a step, and for a step of the shortest texts.

    vLLM refuses to start if the longest text does not fit, and every text takes at least one block.
    """
    if settings.engine.kv_cache_gib is not None:
        return int(settings.engine.kv_cache_gib * 2**30)
    tokens = max(profile.max_tokens + step_tokens, settings.engine.step_texts * CPU_BLOCK_TOKENS)
    return tokens * profile.kv_bytes_per_token + KV_SLACK_BYTES
