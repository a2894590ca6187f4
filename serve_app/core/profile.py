"""What a checkpoint can do, as far as a request can depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["last", "mean", "cls"]
MIN_MATRYOSHKA_DIMENSIONS = 32  # the smallest size the Qwen3-Embedding model card supports


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Facts of one served model. `query_template` holds `{instruction}` and `{text}`, or only `{text}`, or is None."""

    name: str
    path: str
    family: str
    pooling: Pooling
    native_dimensions: int
    is_matryoshka: bool
    max_tokens: int
    vocab_size: int
    end_token_id: int | None
    query_template: str | None
    default_instruction: str | None
    dtype: str
    kv_bytes_per_token: int  # 0 for an encoder, which keeps no KV cache
    flops_per_token: float  # of the layers' matrix products, without attention over the context
    fingerprint: str  # weights-tokenizer-pooling-dtype; empty where the weights are not at hand

    @property
    def min_dimensions(self) -> int:
        return min(MIN_MATRYOSHKA_DIMENSIONS, self.native_dimensions) if self.is_matryoshka else self.native_dimensions

    @property
    def takes_instruction(self) -> bool:
        return self.query_template is not None and "{instruction}" in self.query_template
