"""How large the models are, and how many operations a token takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core.errors import SetupError

QWEN3_VOCABULARY = 151_936


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a Qwen3 decoder; sizes in numbers of values, `intermediate` inside the feed-forward part."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int = QWEN3_VOCABULARY
    max_tokens: int = 32_768

    @property
    def linear_flops(self) -> float:
        """Of one token, whatever the length of its text: two for each weight of the layers' matrices."""
        attention = 2 * self.hidden * self.head_size * (self.heads + self.kv_heads)
        return 2.0 * self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def attention_flops(self) -> float:
        """Of one token for each token of its text: scores and sums over, on average, half of the text."""
        return 2.0 * self.layers * self.heads * self.head_size

    def flops_per_token(self, lengths: Sequence[int]) -> float:
        """Mean over texts of these lengths."""
        total = sum(length * (self.linear_flops + self.attention_flops * length) for length in lengths)
        return total / sum(lengths)


SHAPES = {
    "0.6B": Shape(1024, 28, 16, 8, 128, 3072),
    "4B": Shape(2560, 36, 32, 8, 128, 9728),
    "8B": Shape(4096, 36, 32, 8, 128, 12_288),
}
TINY = Shape(256, 4, 4, 2, 64, 768, 1024, 2048)


def read_shape(directory: Path) -> Shape:
    """Of a checkpoint. Raises SetupError if its config.json is not that of a Qwen3 decoder."""
    try:
        config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        return Shape(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head_size=config["head_dim"],
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            max_tokens=config["max_position_embeddings"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"{directory} has no config.json of a Qwen3 decoder: give 0.6B, 4B, 8B or tiny.") from error
