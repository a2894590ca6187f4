"""What serving can be told. Built once by `cluster.config` and handed down; nothing here reads files or environment."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

APP_NAME = "embed"
EMBEDDER_PREFIX = "Embedder-"
ROUTER_CPUS = 0.1  # Ray's logical CPUs place processes; they do not throttle them
EMBEDDER_CPUS = 0.5


class Settings(BaseModel):
    """Frozen, and a misspelt key is an error rather than a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(Settings):
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Weights and activations. float16 is not offered: Qwen3-Embedding overflows in it."
    )
    max_tokens: int | None = Field(None, ge=8, description="Longest input in tokens; default: what the model allows.")
    step_tokens: int | None = Field(
        None,
        ge=64,
        description="Most tokens the engine computes in one step; default: 16,384 on a GPU, 1,536 on a CPU.",
    )
    step_texts: int = Field(256, ge=1, description="Most texts the engine computes in one step.")
    kv_cache_gib: float | None = Field(
        None, gt=0, description="KV cache on the CPU; default: what a step needs. A GPU uses gpu_memory_share."
    )
    gpu_memory_share: float = Field(
        0.9, gt=0, le=0.98, description="Part of a GPU's memory its replicas may take together."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of one replica; default: its share of the cores.")
    compile: bool = Field(
        True, description="torch.compile: faster steps for a slower first start; later starts load the compiled code."
    )


class ModelSettings(Settings):
    path: str = Field(description="Checkpoint directory, or a model name on the Hugging Face hub.")
    name: str = Field("", description="Name in requests; default: the last part of the path, in lower case.")
    replicas: int = Field(1, ge=1, description="Replicas, each with its own engine.")
    gpus_per_replica: float = Field(0, ge=0, le=1, description="GPUs of one replica; a fraction shares a GPU.")
    default_instruction: str | None = Field(None, description="Instruction of queries that bring none.")
    engine: EngineSettings = EngineSettings()

    @property
    def served_name(self) -> str:
        return self.name or PurePosixPath(self.path.removeprefix("package:").rstrip("/")).name.lower() or "model"

    @property
    def deployment(self) -> str:
        return embedder_deployment(self.served_name)


def embedder_deployment(served_name: str) -> str:
    """The Serve deployment that holds the replicas of one model."""
    return EMBEDDER_PREFIX + "".join(c if c.isalnum() or c in "-_." else "-" for c in served_name)


class LimitSettings(Settings):
    max_inputs: int = Field(2048, ge=1, description="Inputs in one request (OpenAI's limit).")
    max_body_mib: int = Field(32, ge=1, description="Size of one request body.")
    request_timeout_s: float = Field(60.0, gt=0, description="Longest time to answer one request.")
    slice_tokens: int = Field(8192, ge=64, description="Tokens of one slice, the unit between Router and Embedder.")
    slice_texts: int = Field(256, ge=1, description="Texts of one slice.")
    slices_per_replica: int = Field(2, ge=1, description="Slices one Router keeps under way for each replica.")
    second_slice_tokens: int = Field(
        512, ge=1, description="A replica gets a slice beside the one it computes only if it has this many tokens."
    )
    max_queued_tokens: int = Field(262_144, ge=1024, description="Tokens waiting in one replica before it says 429.")


class RouterSettings(Settings):
    replicas: int = Field(1, ge=1, description="Router processes: they parse, tokenise and encode.")


class AppSettings(Settings):
    """Everything `serve_app.app:build` needs."""

    models: tuple[ModelSettings, ...]
    router: RouterSettings = RouterSettings()
    limits: LimitSettings = LimitSettings()
