"""Checkpoint directories without weights: only the small files that the reader looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny_qwen3 import _write_tokenizer

QWEN3_CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "max_position_embeddings": 40_960,
    "vocab_size": 151_669,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
}
BERT_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 384,
    "max_position_embeddings": 512,
    "vocab_size": 30_522,
}


def write(directory: Path, name: str, content: object) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_pooling(directory: Path, *modes: str) -> None:
    """The sentence-transformers files that name the pooling."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    write(directory, "modules.json", modules)
    write(directory, "1_Pooling/config.json", {f"pooling_mode_{mode}": True for mode in modes})


def qwen3_checkpoint(directory: Path) -> Path:
    write(directory, "config.json", QWEN3_CONFIG)
    write_pooling(directory, "lasttoken")
    _write_tokenizer(directory)
    return directory


def bert_checkpoint(directory: Path) -> Path:
    write(directory, "config.json", BERT_CONFIG)
    write_pooling(directory, "mean_tokens")
    write(directory, "sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False})
    return directory
