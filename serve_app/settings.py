"""What serving can be told. Built once by `cluster.config` and handed down; nothing here reads files or environment."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

APP_NAME = "embed"
EMBEDDER_PREFIX = "Embedder-"
CPU_LIGHT_SLICE_TOKENS = 96  # docs/LOG.md, 2026-11-22
ROUTER_CPUS = 0.1  # Ray's logical CPUs place processes; they do not throttle them
EMBEDDER_CPUS = 0.5
DRAIN_MARGIN_S = 5.0  # beyond the longest request, which a replica that leaves still answers


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
    quantization: Literal["fp8"] | None = Field(
        None, description="fp8 computes the weights' products in 8 bits: faster on GPUs that can, a little less exact."
    )
    stuck_after_s: float = Field(
        120.0, gt=0, description="A replica whose engine computes nothing for so long is taken for stuck and replaced."
    )
    compile: bool = Field(
        True, description="torch.compile: faster steps for a slower first start; later starts load the compiled code."
    )


class AutoscalingSettings(Settings):
    """How the number of a model's replicas follows its backlog, counted in tokens."""

    min_replicas: int = Field(1, ge=0, description="Fewest; 0 lets a model that is used now and then give its GPUs up.")
    max_replicas: int = Field(ge=1, description="Most.")
    target_wait_s: float = Field(2.0, gt=0, description="Waiting tokens should be computed within so long.")
    cold_start_s: float = Field(60.0, gt=0, description="From asking for a replica to its first vector.")
    target_utilisation: float = Field(
        0.75, gt=0, le=1, description="Part of the replicas' time that steady work may take; the rest is for bursts."
    )
    downscale_after_s: float = Field(300.0, ge=0, description="A replica goes once fewer were enough for so long.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"`min_replicas` ({self.min_replicas}) is above `max_replicas` ({self.max_replicas})")
        return self


class ModelSettings(Settings):
    path: str = Field(
        description="Checkpoint directory, a name on the Hugging Face hub, or `package:NAME` of a Python package."
    )
    name: str = Field("", description="Name in requests; default: the last part of the path, in lower case.")
    aliases: tuple[str, ...] = Field((), description="Other names that requests may use for it.")
    replicas: int = Field(
        1,
        ge=0,
        description="Replicas, each with its own engine; with `autoscaling`, those of the first deployment (on "
        "Kubernetes that begins with `min_replicas`). 0 only where `autoscaling` allows it.",
    )
    autoscaling: AutoscalingSettings | None = Field(
        None, description="Bounds between which the number of replicas follows the load; without it, it is fixed."
    )
    gpus_per_replica: float = Field(
        0, ge=0, le=1, description="GPUs of one replica (of each tensor-parallel rank); a fraction shares a GPU."
    )
    tensor_parallel: int = Field(1, ge=1, le=64, description="GPUs one replica's model is split over.")
    golden: str | None = Field(
        None,
        description="Reference vectors that a replica must reproduce before it is ready; `embedctl verify --save`.",
    )
    default_instruction: str | None = Field(None, description="Instruction of queries that bring none.")
    engine: EngineSettings = EngineSettings()

    @model_validator(mode="after")
    def _split_needs_whole_gpus(self) -> Self:
        if self.tensor_parallel > 1 and self.gpus_per_replica != 1:
            raise ValueError("`tensor_parallel` above 1 needs `gpus_per_replica: 1`")
        return self

    @property
    def most_replicas(self) -> int:
        """How many of its replicas there can be at a time."""
        return self.replicas if self.autoscaling is None else self.autoscaling.max_replicas

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
    max_request_tokens: int = Field(1_000_000, ge=1024, description="Tokens of one request, all inputs together.")
    max_body_mib: int = Field(16, ge=1, description="Size of one request body.")
    max_buffered_mib: int = Field(
        512, ge=1, description="Large bodies that one Router reads and works on at a time; past it a request gets 429."
    )
    request_timeout_s: float = Field(
        60.0, gt=0, description="Longest time for one request, from its first byte to its vectors."
    )
    slice_tokens: int = Field(8192, ge=64, description="Tokens of one slice, the unit between Router and Embedder.")
    slice_texts: int = Field(256, ge=1, description="Texts of one slice.")
    slices_per_replica: int = Field(2, ge=1, description="Slices one Router keeps under way for each replica.")
    second_slice_tokens: int = Field(
        512, ge=1, description="A replica gets a slice beside the one it computes only if it has this many tokens."
    )
    light_slice_tokens: int | None = Field(
        None,
        ge=1,
        description="From this many tokens on a second slice may leave if it is nearly as large as the first, for "
        "engines whose small steps are short; default: 96 without a GPU, none with one.",
    )
    max_queued_tokens: int = Field(
        262_144, ge=1024, description="Tokens of one class that may wait for each replica; past it a request gets 429."
    )
    max_wait_s: float = Field(
        20.0, gt=0, description="A request that would wait longer for its turn gets 429 at once, with the time to wait."
    )

    def of_engine(self, on_gpu: bool) -> LimitSettings:
        """With the defaults that depend on what computes. A GPU's step takes about as long for 1 token as for 500."""
        if on_gpu or self.light_slice_tokens is not None:
            return self
        return self.model_copy(update={"light_slice_tokens": CPU_LIGHT_SLICE_TOKENS})

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mib * 2**20

    @property
    def max_buffered_bytes(self) -> int:
        return self.max_buffered_mib * 2**20


class ReplicaLimits(Settings):
    """Of LimitSettings, what a replica of a model goes by."""

    max_queued_tokens: int = LimitSettings().max_queued_tokens


class RouterSettings(Settings):
    replicas: int = Field(1, ge=1, description="Router processes: they parse, tokenise and encode.")
    cache_mib: int = Field(128, ge=0, description="Vectors each Router keeps for texts it has seen; 0 keeps none.")
    raw_token_ids: Literal["accept", "reject"] = Field(
        "accept",
        description="Whether `input` may be token ids. `reject` catches clients that send ids of another tokenizer.",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Web origins whose pages may call the endpoint; none by default."
    )


class AuthSettings(Settings):
    keys_file: str | None = Field(
        None, description="File of API keys (digests only), made by `embedctl keys create`; without it no key is asked."
    )


class ObservabilitySettings(Settings):
    access_log: bool = Field(False, description="One line of JSON for each embeddings request, without its texts.")
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector for traces; needs the extra `otel`.")


class LiveSettings(Settings):
    """What may change while the cluster runs. An answer is computed with exactly one version of it."""

    presets: dict[str, str] = Field(
        default_factory=dict, description='Named instructions: `model@name`, or `instruction: "@name"`.'
    )
    limits: LimitSettings = LimitSettings()

    @property
    def version(self) -> str:
        """A short name of the content."""
        return blake2b(self.model_dump_json().encode(), digest_size=4).hexdigest()


class AppSettings(Settings):
    """Everything `serve_app.app:build` needs."""

    models: tuple[ModelSettings, ...]
    router: RouterSettings = RouterSettings()
    auth: AuthSettings = AuthSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    live: LiveSettings = LiveSettings()

    @property
    def limits(self) -> LimitSettings:
        return self.live.limits
