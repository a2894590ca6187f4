"""vLLM behind the engine port. The only file that imports vllm, and the only one that knows its internals."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from serve_app.core.engine import UNBOUNDED_TOKENS, Step, StepBounds
from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.types import Priority, TokenIds
from serve_app.engines.step_budget import StepBudget
from serve_app.engines.step_threads import StepThreads
from serve_app.settings import ModelSettings

# Below its public classes vLLM changes with every release: a new one needs this file read again.
VLLM_SERIES = ("0.32.", "0.26.")
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
GPU_STEP_TOKENS = 16_384  # fills an H200-class GPU with a 4B model
CPU_STEP_TOKENS = 1_536  # activations of a step still fit the caches: docs/LOG.md, 2026-11-22
CPU_BLOCK_TOKENS = 128  # vLLM's KV block on a CPU
KV_SLACK_BYTES = 64 * 2**20
PEAK_FLOPS = {  # dense bfloat16, from the data sheets
    "A10": 125e12,
    "L4": 121e12,
    "A100": 312e12,
    "L40S": 362e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
}


class VllmEngine:
    """One in-process vLLM engine. Construct it and call it from any threads, but never from two at once.

    It drives vLLM's EngineCore itself. LLMEngine around it would prepare every text for sampling, detokenising and
    statistics that vectors do not need, and load a tokenizer: docs/LOG.md, 2026-11-22.
    """

    def __init__(
        self, settings: ModelSettings, profile: ModelProfile, more_arguments: Mapping[str, Any] = NO_ARGUMENTS
    ) -> None:
        """`more_arguments` of vLLM's EngineArgs win over what the settings say, for those who measure alternatives.

        Raises SetupError without vLLM, with another series of it, or if it refuses the model or the settings.
        """
        _prepare_process(settings)
        _check_version()
        from torch import get_num_threads, set_num_threads  # before vLLM puts a warning in the place of the second
        from vllm.engine.arg_utils import EngineArgs
        from vllm.pooling_params import PoolingParams
        from vllm.v1.engine.core import EngineCore
        from vllm.v1.executor import Executor
        from vllm.v1.request import Request

        on_gpu = settings.gpus_per_replica > 0
        if not on_gpu:
            _reuse_compiled_code()
        try:
            arguments = {**engine_arguments(settings, profile, on_gpu), **more_arguments}
            config = EngineArgs(**arguments).create_engine_config()
            self._core = EngineCore(config, Executor.get_class(config), log_stats=False)
        except ValueError as error:
            raise SetupError(f"vLLM cannot run {profile.name} as it is configured: {error}") from error
        if "embed" not in self._core.get_supported_tasks():
            raise SetupError(f"vLLM can compute no embeddings with {profile.name}: serve an embedding model.")
        # vLLM 0.26 keeps a place for a generated token, so that a text of full length that takes several steps would
        # wait for its last token for ever. Later ones keep none for pooling.
        self._core.scheduler.num_sampled_tokens_per_step = 0
        self._params = PoolingParams(task="embed")
        self._params.verify(config.model_config)
        self._request = Request
        threads = 1 if on_gpu else get_num_threads()
        self._threads = StepThreads(set_num_threads, threads, profile.flops_per_token)
        self._step_tokens: int = config.scheduler_config.max_num_batched_tokens
        self._can_pause = bool(config.scheduler_config.enable_chunked_prefill)  # in the middle of a text
        self._budget = StepBudget(self._step_tokens, can_pause=self._can_pause)
        self._dimensions = profile.native_dimensions
        self._capacity_tokens = _capacity_tokens(config, profile)
        self._peak_flops = _gpu_peak_flops(settings.tensor_parallel) if on_gpu else None

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def step_tokens(self) -> int:
        return self._step_tokens

    @property
    def capacity_tokens(self) -> int:
        return self._capacity_tokens

    @property
    def peak_flops(self) -> float | None:
        return self._peak_flops

    def add(self, key: int, ids: TokenIds, priority: Priority) -> None:
        self._budget.add(key, len(ids), priority)
        self._core.scheduler.add_request(
            self._request(str(key), ids.tolist(), None, self._params, priority=int(priority))
        )

    def step(self, bounds: StepBounds) -> Step:
        begun = self._begun
        self._bound(bounds, begun)
        outputs, is_executed = self._core.step_fn()
        self._core.post_step(is_executed)
        finished = [
            (int(output.request_id), output.pooling_output.float().numpy())
            for output in (outputs[0].outputs if outputs else ())
            if output.pooling_output is not None
        ]
        still = self._begun
        tokens = self._budget.remove(key for key, _ in finished) + sum(still.values()) - sum(begun.values())
        return Step(finished, max(0, tokens), frozenset(still))  # short of memory, vLLM forgets what it has begun

    def _bound(self, bounds: StepBounds, begun: Mapping[int, int]) -> None:
        """vLLM reads its limits anew for every step."""
        tokens = self._budget.of_step(bounds, begun)
        self._core.scheduler.max_num_scheduled_tokens = tokens
        if self._can_pause:
            self._core.scheduler.scheduler_config.long_prefill_token_threshold = bounds.text_tokens
        self._threads.fit(tokens)

    @property
    def _begun(self) -> dict[int, int]:
        """Texts that are partly computed: key → tokens that are done."""
        return {int(request.request_id): request.num_computed_tokens for request in self._core.scheduler.running}

    def drop(self, keys: Sequence[int]) -> None:
        self._budget.remove(keys)
        self._core.abort_requests([str(key) for key in keys])

    def close(self) -> None:
        self._core.shutdown()


def engine_arguments(settings: ModelSettings, profile: ModelProfile, on_gpu: bool) -> dict[str, Any]:
    """What vLLM is told, as arguments of its EngineArgs."""
    engine = settings.engine
    step_tokens = engine.step_tokens or (GPU_STEP_TOKENS if on_gpu else CPU_STEP_TOKENS)
    if profile.pooling != "last":  # such a text is computed whole, never in pieces
        step_tokens = max(step_tokens, profile.max_tokens)
    arguments: dict[str, Any] = {
        "model": profile.path,
        "runner": "pooling",
        "dtype": engine.dtype,
        "quantization": engine.quantization,
        "max_model_len": profile.max_tokens,
        "max_num_batched_tokens": step_tokens,
        "max_num_seqs": engine.step_texts,
        "scheduling_policy": "priority",
        "enable_prefix_caching": False,  # documents share no prefix; hashing every block would cost and never pay
        "enforce_eager": not engine.compile,
        "gpu_memory_utilization": engine.gpu_memory_share * min(1.0, settings.gpus_per_replica or 1.0),
        "kv_cache_memory_bytes": None if on_gpu else _kv_cache_bytes(settings, profile, step_tokens),
        "disable_log_stats": True,
    }
    if settings.tensor_parallel > 1:
        # Ray starts a process a GPU inside the placement group of the replica.
        arguments |= {"tensor_parallel_size": settings.tensor_parallel, "distributed_executor_backend": "ray"}
    return arguments


def peak_flops_of(gpu: str) -> float | None:
    """Dense bfloat16 operations a second of a GPU by the name its driver gives; None if it is not in the table."""
    return next((PEAK_FLOPS[word] for word in re.split(r"[^A-Za-z0-9]+", gpu) if word in PEAK_FLOPS), None)


def _check_version() -> None:
    try:
        from vllm import __version__ as version
    except ImportError as error:
        raise SetupError(
            "vLLM is not installed: install the extra `cpu` or `gpu`, for example pip install 'embed-cluster[cpu]'."
        ) from error
    if not version.startswith(VLLM_SERIES):
        series = " or ".join(f"{one}x" for one in VLLM_SERIES)
        raise SetupError(f"vLLM {version} is installed and {series} is needed: install the pinned requirements.")


def _gpu_peak_flops(gpus: int) -> float | None:
    from vllm.platforms import current_platform

    peak = peak_flops_of(current_platform.get_device_name())
    return peak * gpus if peak else None


def _capacity_tokens(config: Any, profile: ModelProfile) -> int:
    """Of a VllmConfig whose engine has sized its cache. vLLM keeps one block empty."""
    if not profile.kv_bytes_per_token:
        return UNBOUNDED_TOKENS
    return int((config.cache_config.num_gpu_blocks - 1) * config.cache_config.block_size)


def _prepare_process(settings: ModelSettings) -> None:
    """vLLM is configured through its process's environment, and only before it is imported."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine runs in this process (ADR 2)
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    logging.getLogger("vllm").setLevel(os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING"))
    # Left to itself, vLLM configures the logging of the whole process, which closes every handler that is there. Serve
    # asks its own for the log file when a new controller looks for the replicas, and kills those that cannot say.
    os.environ["VLLM_CONFIGURE_LOGGING"] = "0"
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
