"""Model profiles for tests, as the checkpoint reader would give them."""

from __future__ import annotations

from dataclasses import replace

from serve_app.core.profile import ModelProfile
from serve_app.model.checkpoint import QWEN3_INSTRUCTION, QWEN3_TEMPLATE

QWEN3 = ModelProfile(
    name="qwen3-embedding-0.6b",
    path="/models/qwen3",
    family="qwen3",
    pooling="last",
    native_dimensions=1024,
    is_matryoshka=True,
    max_tokens=32_768,
    vocab_size=151_669,
    end_token_id=151_643,
    query_template=QWEN3_TEMPLATE,
    default_instruction=QWEN3_INSTRUCTION,
    dtype="bfloat16",
    kv_bytes_per_token=114_688,
    flops_per_token=880_803_840.0,
    fingerprint="3f2a91c07b44d1e8-77b0c1d2-last-bfloat16",
)
MINILM = replace(
    QWEN3,
    name="all-minilm-l6-v2",
    path="/models/minilm",
    family="bert",
    pooling="mean",
    native_dimensions=384,
    is_matryoshka=False,
    max_tokens=256,
    vocab_size=30_522,
    end_token_id=None,
    query_template=None,
    default_instruction=None,
)
E5 = replace(MINILM, name="e5-small", path="/models/e5", query_template="query: {text}")
