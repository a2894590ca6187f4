"""Where pods find models, keys and reference vectors: files of this machine are not there."""

from __future__ import annotations

from pathlib import PurePosixPath

from cluster.config import ClusterConfig
from serve_app.core.errors import SetupError
from serve_app.settings import ModelSettings

MODELS = PurePosixPath("/models")  # the volume with the weights
KEYS = PurePosixPath("/etc/embed/keys")
KEYS_FILE = "keys.yaml"


def downloads(config: ClusterConfig) -> dict[str, str]:
    """Hub name → commit of every model the volume must hold. Raises SetupError for one without a commit."""
    names = [model.path for model in config.models if _is_hub_name(model.path)]
    known = config.kubernetes.weights.revisions
    for name in names:
        if name not in known:
            raise SetupError(
                f"`kubernetes.weights.revisions` has no commit for {name}: add the 40 digits that the hub shows for "
                "it, so that all nodes hold the same weights."
            )
    return {name: known[name] for name in dict.fromkeys(names)}


def uses_volume(config: ClusterConfig) -> bool:
    """Whether pods need the volume: not for models inside the image."""
    return any(not model.path.startswith("package:") for model in config.models)


def directory_of(name: str, revision: str) -> PurePosixPath:
    """Where a model of the hub lies. The commit is part of it: another one never overwrites what replicas read."""
    return MODELS / name.replace("/", "--") / revision


def models_in_pods(config: ClusterConfig) -> tuple[ModelSettings, ...]:
    """The models with their paths inside a pod, under the names they have anyway. Raises SetupError."""
    revisions = downloads(config)
    return tuple(_in_pod(index, model, revisions) for index, model in enumerate(config.models))


def _in_pod(index: int, model: ModelSettings, revisions: dict[str, str]) -> ModelSettings:
    key = f"models.{index}"
    _check(f"{key}.golden", model.golden)
    if model.path in revisions:
        path = str(directory_of(model.path, revisions[model.path]))
        return model.model_copy(update={"path": path, "name": model.served_name})
    if not model.path.startswith("package:"):
        _check(f"{key}.path", model.path)
    return model


def _check(key: str, path: str | None) -> None:
    if path is not None and MODELS not in PurePosixPath(path).parents:
        raise SetupError(
            f"`{key}` is {path}, which pods do not have: put it on the volume with the weights, which is mounted at "
            f"{MODELS}, and give its path there."
        )


def _is_hub_name(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith(("/", ".", "~", "package:"))
