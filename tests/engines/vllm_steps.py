"""vLLM in its own process: `python -m tests.engines.vllm_steps CHECKPOINT ANSWER` tells what bounded steps give."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority, TokenIds, Vectors
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.model.checkpoint import locate, read_profile
from serve_app.settings import EngineSettings, ModelSettings

BOUNDS = StepBounds(bulk_tokens=100, text_tokens=100)
INTERACTIVE = 2  # so many of the texts


def embed(engine: VllmEngine, texts: Sequence[TokenIds], bounds: StepBounds) -> tuple[Vectors, list[int]]:
    """The vectors, and the tokens of every step."""
    for key, text in enumerate(texts):
        engine.add(key, text, Priority.INTERACTIVE if key < INTERACTIVE else Priority.BULK)
    vectors: dict[int, Vectors] = {}
    tokens: list[int] = []
    while len(vectors) < len(texts):
        step = engine.step(bounds)
        vectors.update(step.finished)
        tokens.append(step.tokens)
    return np.stack([vectors[key] for key in range(len(texts))]), tokens


def main(checkpoint: str, answer: str) -> None:
    settings = ModelSettings(path=checkpoint, engine=EngineSettings(compile=False, threads=1))
    profile = read_profile(settings, locate(checkpoint, weights=True))
    engine = VllmEngine(settings, profile)
    random = np.random.default_rng(5)
    lengths = [5, 20, *(min(length, profile.max_tokens) for length in (90, 500, 1900))]
    texts = [random.integers(5, profile.vocab_size, size=length, dtype=np.int32) for length in lengths]
    whole, full_steps = embed(engine, texts, StepBounds.full(engine.step_tokens))
    pieces, short_steps = embed(engine, texts, BOUNDS)

    engine.add(90, texts[-1], Priority.BULK)
    engine.step(BOUNDS)
    engine.drop([90])
    engine.add(91, texts[0], Priority.INTERACTIVE)
    after_drop = engine.step(BOUNDS)
    engine.close()
    found = {
        "lengths": lengths,
        "full_steps": full_steps,
        "short_steps": short_steps,
        "least_cosine": float(np.einsum("ij,ij->i", whole, pieces).min()),
        "after_drop": [after_drop.tokens, *(key for key, _ in after_drop.finished)],
    }
    Path(answer).write_text(json.dumps(found), encoding="utf-8")  # stdout is vLLM's


if __name__ == "__main__":
    main(*sys.argv[1:])
