"""Checkpoints with the shapes of Qwen3-Embedding and random weights: speed and memory are those of the real model.

`python -m benchmarks.gpu.checkpoint 4B DIRECTORY`; with `--dummy` without weights, for an engine that draws its own.
Vocabulary entries beyond what the tokenizer has learnt are never produced by it, but any of their ids may be sent.
"""

from __future__ import annotations

import json
import math
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.shapes import SHAPES, Shape
from tests import tiny_qwen3

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 4 * 10**9
DEVIATION = 0.02  # of the weights, as the published configuration initialises them
EMBEDDING_DEVIATION = 1.0  # what a layer adds must be small beside it: see deviation_of
WHOLE = "modules.json"
Tensors = dict[str, tuple[int, ...]]  # name → size


def build(size: str, directory: Path, *, is_dummy: bool = False) -> Path:
    """Write a checkpoint unless a whole one is there; returns the directory."""
    if (directory / WHOLE).exists():
        return directory
    shape, unfinished = SHAPES[size], directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    tiny_qwen3.build(unfinished, hidden=shape.hidden, layers=1, intermediate=64)
    for weights in unfinished.glob("*.safetensors"):
        weights.unlink()
    _change(unfinished / "config.json", config_of(shape))
    _change(unfinished / "tokenizer_config.json", {"model_max_length": shape.max_tokens})
    _fill_vocabulary(unfinished / "tokenizer.json", shape.vocabulary)
    if not is_dummy:
        _write_weights(unfinished, shape)
    shutil.rmtree(directory, ignore_errors=True)
    return unfinished.rename(directory)


def config_of(shape: Shape) -> dict[str, Any]:
    """What differs from the tiny checkpoint's config.json."""
    return {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "max_window_layers": shape.layers,
        "layer_types": ["full_attention"] * shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "intermediate_size": shape.intermediate,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.max_tokens,
    }


def tensors_of(shape: Shape) -> Iterator[Tensors]:
    """What must lie in one file together, part by part."""
    yield {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    query, key = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    for layer in range(shape.layers):
        sizes: Tensors = {
            "self_attn.q_proj": (query, shape.hidden),
            "self_attn.k_proj": (key, shape.hidden),
            "self_attn.v_proj": (key, shape.hidden),
            "self_attn.o_proj": (shape.hidden, query),
            "self_attn.q_norm": (shape.head_size,),
            "self_attn.k_norm": (shape.head_size,),
            "mlp.gate_proj": (shape.intermediate, shape.hidden),
            "mlp.up_proj": (shape.intermediate, shape.hidden),
            "mlp.down_proj": (shape.hidden, shape.intermediate),
            "input_layernorm": (shape.hidden,),
            "post_attention_layernorm": (shape.hidden,),
        }
        yield {f"model.layers.{layer}.{name}.weight": size for name, size in sizes.items()}
    yield {"model.norm.weight": (shape.hidden,)}


def shards_of(shape: Shape, most_bytes: int = SHARD_BYTES) -> list[Tensors]:
    """The tensors of each file, in bfloat16."""
    shards: list[Tensors] = [{}]
    for part in tensors_of(shape):
        if shards[-1] and bytes_of(shards[-1]) + bytes_of(part) > most_bytes:
            shards.append({})
        shards[-1].update(part)
    return shards


def bytes_of(tensors: Tensors) -> int:
    total = 0
    for size in tensors.values():
        values = 1
        for extent in size:
            values *= extent
        total += 2 * values
    return total


def _write_weights(directory: Path, shape: Shape) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator("cuda" if torch.cuda.is_available() else "cpu").manual_seed(7)
    shards, index = shards_of(shape), {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {key: _draw(size, deviation_of(key, shape), generator) for key, size in shard.items()}
        save_file(tensors, directory / name, {"format": "pt"})
        index.update(dict.fromkeys(shard, name))
    total = sum(map(bytes_of, shards))
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (directory / "model.safetensors.index.json").write_text(json.dumps(content), encoding="utf-8")


def deviation_of(key: str, shape: Shape) -> float:
    """Of a tensor's values. A layer changes what it is given a little, as a trained one does.

    With one deviation for all, each layer would drown what came before it and enlarge its roundings: two batches of
    the same texts in fp8 would no longer agree, and the product would refuse to serve.
    """
    if "embed_tokens" in key:
        return EMBEDDING_DEVIATION
    is_added = "o_proj" in key or "down_proj" in key
    return DEVIATION / math.sqrt(2 * shape.layers) if is_added else DEVIATION


def _draw(size: tuple[int, ...], deviation: float, generator: torch.Generator) -> torch.Tensor:
    import torch

    if len(size) == 1:  # a norm
        return torch.ones(size, dtype=torch.bfloat16)
    weights = torch.empty(size, dtype=torch.bfloat16, device=generator.device)
    return weights.normal_(0, deviation, generator=generator).cpu()


def _fill_vocabulary(path: Path, size: int) -> None:
    tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    vocabulary.update({f"<unused {number}>": number for number in range(len(vocabulary), size)})
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def _change(path: Path, changes: Mapping[str, Any]) -> None:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    parser = ArgumentParser(description="Build a checkpoint with random weights.")
    parser.add_argument("size", choices=sorted(SHAPES))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dummy", action="store_true", dest="is_dummy", help="no weights")
    print(build(**vars(parser.parse_args())))
