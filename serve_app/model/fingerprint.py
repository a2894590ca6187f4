"""A short name for what computes the vectors, so that two clusters, or a collection and a cluster, can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path

WEIGHTS = ("*.safetensors", "*.bin")
TOKENIZER = "tokenizer.json"
BLOCK_BYTES = 65_536
BLOCKS = 64  # a file: training moves every weight, so that any of them gives it away


def fingerprint(directory: Path, pooling: str, dtype: str) -> str:
    """`weights-tokenizer-pooling-dtype`, for example `3f2a91c07b44d1e8-77b0c1d2-last-bfloat16`.

    The weights are sampled, not read whole (8 GB would cost a replica seconds of its start): names, sizes, the first
    and last block of each file and blocks spread between them. Empty where the directory holds no weights.
    """
    files = sorted(chain.from_iterable(directory.glob(pattern) for pattern in WEIGHTS))
    if not files:
        return ""
    weights, tokenizer = blake2b(digest_size=8), blake2b(digest_size=4)
    for file in files:
        weights.update(f"{file.name}:{file.stat().st_size}:".encode())
        for block in _sample(file):
            weights.update(block)
    if (directory / TOKENIZER).is_file():
        tokenizer.update((directory / TOKENIZER).read_bytes())
    return f"{weights.hexdigest()}-{tokenizer.hexdigest()}-{pooling}-{dtype}"


def _sample(file: Path) -> Iterator[bytes]:
    """The whole of a small file, else evenly spread blocks with the first and the last among them."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= BLOCKS * BLOCK_BYTES:
            yield opened.read()
            return
        for index in range(BLOCKS):
            opened.seek(index * (size - BLOCK_BYTES) // (BLOCKS - 1))
            yield opened.read(BLOCK_BYTES)
