"""One model on one kind of GPU: how many it is split over or how many replicas share one, and how large a step is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cluster.hardware import HardwareSettings
from cluster.plan.estimates import (
    ENGINE_TOKENS_PER_S,
    GPU_CONTEXT_GIB,
    STEP_S,
    ReplicaMemory,
    gpu_tokens_per_s,
    memory_of,
    memory_share,
    power_of_two,
    step_choices,
)
from cluster.plan.gpus import GPUS, GpuKind
from cluster.plan.layout import Unit
from cluster.plan.model_sizes import ModelSize
from cluster.plan.plans import Decision
from serve_app.core.errors import SetupError
from serve_app.settings import ModelSettings

MOST_SHARING = 4  # replicas of one model on a GPU
SPLITS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Placed:
    """A model with what was decided, the GPUs of a replica, and estimates (None: its size is not known)."""

    model: ModelSettings
    unit: Unit
    decisions: tuple[Decision, ...]
    memory: ReplicaMemory | None
    tokens_per_s: float | None


def place_on_gpu(
    key: str, model: ModelSettings, size: ModelSize | None, hardware: HardwareSettings, sharing: int
) -> Placed:
    """`key` is the model's place, as in `models.0`. `sharing`: so many models must be able to share one GPU.

    Raises SetupError if a replica does not fit, naming what it needs and what there is.
    """
    gpu = GPUS[hardware.gpu]
    model, decisions = _with_dtype(key, model, gpu)
    if size is None:
        if "gpus_per_replica" not in model.model_fields_set:
            raise SetupError(
                f"`{key}.path`: the size of {model.path} is not known, so that it cannot be laid out: set "
                f"`{key}.gpus_per_replica` (and `{key}.tensor_parallel`), or give a checkpoint's directory"
            )
        known = [
            _decision(f"{key}.{name}", getattr(model, name), "one GPU, since nothing else is known", model)
            for name in ("gpus_per_replica", "tensor_parallel")
        ]
        unit = Unit(model.gpus_per_replica, model.tensor_parallel)
        return Placed(model, unit, (*decisions, *known), None, None)
    whole = _updated(model, Unit(1.0), gpu, None)
    natural = power_of_two(gpu_tokens_per_s(whole, size, gpu) / ENGINE_TOKENS_PER_S)
    units = list(_units(model, hardware, max(sharing, min(natural, MOST_SHARING)), sharing))
    draft, memory = whole, memory_of(whole, size, 0, True)
    for unit in units:
        draft = _updated(model, unit, gpu, None)
        speed = gpu_tokens_per_s(draft, size, gpu)
        for step_tokens in _steps(model, speed, gpu):
            draft = _updated(model, unit, gpu, step_tokens)
            memory = memory_of(draft, size, step_tokens, True)
            if memory.total <= _room(draft, gpu):
                speed = min(ENGINE_TOKENS_PER_S, speed)
                why = (*decisions, *_explained(key, model, draft, memory, speed, gpu, sharing))
                return Placed(draft, unit, why, memory, speed)
    raise SetupError(_too_large(key, model, draft, memory, gpu))


def _units(model: ModelSettings, hardware: HardwareSettings, shares: int, sharing: int) -> Iterator[Unit]:
    """What to try, best first; what the configuration says is the only choice."""
    part_is_set, split_is_set = ("gpus_per_replica" in model.model_fields_set, model.tensor_parallel > 1)
    if part_is_set and (split_is_set or "tensor_parallel" in model.model_fields_set or model.gpus_per_replica < 1):
        yield Unit(model.gpus_per_replica, model.tensor_parallel)
        return
    while not part_is_set and shares > sharing:
        yield Unit(1 / shares)
        shares //= 2
    yield Unit(1.0 if part_is_set else 1 / sharing)
    if sharing == 1 and "tensor_parallel" not in model.model_fields_set:
        yield from (Unit(1.0, split) for split in SPLITS if split <= hardware.gpus_per_node)


def _updated(model: ModelSettings, unit: Unit, gpu: GpuKind, step_tokens: int | None) -> ModelSettings:
    update: dict[str, object] = {"step_tokens": step_tokens}
    if "gpu_memory_share" not in model.engine.model_fields_set:
        update["gpu_memory_share"] = memory_share(gpu, max(1, int(1 / unit.part)))
    engine = model.engine.model_copy(update=update)
    return model.model_copy(update={"gpus_per_replica": unit.part, "tensor_parallel": unit.split, "engine": engine})


def _steps(model: ModelSettings, tokens_per_s: float, gpu: GpuKind) -> list[int]:
    if model.engine.step_tokens is not None:
        return [model.engine.step_tokens]
    return step_choices(tokens_per_s, gpu, model.engine.dtype == "float32")


def _room(model: ModelSettings, gpu: GpuKind) -> float:
    return gpu.memory_gib * model.engine.gpu_memory_share * model.gpus_per_replica


def _with_dtype(key: str, model: ModelSettings, gpu: GpuKind) -> tuple[ModelSettings, tuple[Decision, ...]]:
    if gpu.bf16_tflops is not None:
        return model, ()
    if "dtype" in model.engine.model_fields_set and model.engine.dtype == "bfloat16":
        raise SetupError(
            f"`{key}.engine.dtype`: a {gpu.title} cannot compute in bfloat16; set float32 or leave the key out"
        )
    if model.engine.quantization is not None:
        raise SetupError(f"`{key}.engine.quantization`: a {gpu.title} cannot run fp8 weights; leave the key out")
    if "dtype" in model.engine.model_fields_set:
        return model, ()
    engine = model.engine.model_copy(update={"dtype": "float32"})
    decision = Decision(f"{key}.engine.dtype", "float32", f"a {gpu.title} cannot compute in bfloat16")
    return model.model_copy(update={"engine": engine}), (decision,)


def _explained(
    key: str,
    given: ModelSettings,
    chosen: ModelSettings,
    memory: ReplicaMemory,
    tokens_per_s: float,
    gpu: GpuKind,
    sharing: int,
) -> Iterator[Decision]:
    unit_why = f"a replica needs {memory.total:.1f} GiB and may take {_room(chosen, gpu):.1f} of one {gpu.title}"
    shares = round(1 / chosen.gpus_per_replica)
    if shares > 1:
        reason = (
            "otherwise not all models find a place"
            if sharing > 1 and shares == sharing
            else (f"the GPU could compute more than the {ENGINE_TOKENS_PER_S:,} tokens/s that one engine keeps up with")
        )
        unit_why = f"{shares} replicas share a GPU: {reason}"
    split_why = (
        "one GPU is enough"
        if chosen.tensor_parallel == 1
        else (f"less would not fit: {memory.total:.1f} GiB on each of {chosen.tensor_parallel} GPUs")
    )
    yield _decision(f"{key}.gpus_per_replica", chosen.gpus_per_replica, unit_why, given)
    yield _decision(f"{key}.tensor_parallel", chosen.tensor_parallel, split_why, given)
    step = chosen.engine.step_tokens or 0
    yield _decision(f"{key}.engine.step_tokens", step, _step_why(step, tokens_per_s), given)
    share_why = f"leaves {GPU_CONTEXT_GIB} GiB of a GPU for each process on it, outside vLLM's count"
    yield _decision(f"{key}.engine.gpu_memory_share", chosen.engine.gpu_memory_share, share_why, given)


def _step_why(step_tokens: int, tokens_per_s: float) -> str:
    step_s = step_tokens / tokens_per_s
    if step_s > STEP_S:
        return (
            f"{step_s:.2f} s at {tokens_per_s:,.0f} tokens/s, more than the {STEP_S} s that an interactive text should "
            "wait: a smaller step would mostly read the weights"
        )
    return f"{step_s:.2f} s at {tokens_per_s:,.0f} tokens/s: an interactive text may wait {STEP_S} s"


def _decision(key: str, value: int | float, why: str, given: ModelSettings) -> Decision:
    *_, section, name = key.split(".")
    fields = given.engine.model_fields_set if section == "engine" else given.model_fields_set
    return Decision(key, value, "as configured", given=True) if name in fields else Decision(key, value, why)


def _too_large(key: str, given: ModelSettings, model: ModelSettings, memory: ReplicaMemory, gpu: GpuKind) -> str:
    where = f"`{key}.gpus_per_replica`" if "gpus_per_replica" in given.model_fields_set else "`hardware.gpu`"
    where_it_is = "its GPU" if model.tensor_parallel == 1 else f"each of its {model.tensor_parallel} GPUs"
    return (
        f"{where}: {model.served_name} needs {memory.total:.1f} GiB of {where_it_is} "
        f"({memory.weights:.1f} of weights, {memory.kv_cache:.1f} of KV cache, {memory.activations:.1f} of activations "
        f"and {memory.runtime:.1f} for the runtime) and may take {_room(model, gpu):.1f} of {gpu.memory_gib:g} on one "
        f"{gpu.title}; lower `{key}.engine.max_tokens`, raise `{key}.tensor_parallel`, or take a smaller model or a "
        "larger GPU"
    )
