"""What an engine must show before its replica takes traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.core.engine import EmbeddingEngine, StepBounds
from serve_app.core.errors import SetupError
from serve_app.core.profile import ModelProfile
from serve_app.core.step_results import are_unit_norm
from serve_app.core.types import Priority, TokenIds, Vectors
from serve_app.model.golden import Golden

MAX_OTHER_COSINE = 0.99999  # of two different texts: even an untrained model tells them apart by more
PROBE_TOKENS = (4, 21, 64)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The least cosine of two vectors of one text."""

    batch: float  # alone and among others: shapes differ, and so do their roundings
    golden: float  # here and in the reference; official implementations of one model differ by as much


AGREEMENT: dict[str | None, Agreement] = {None: Agreement(0.999, 0.998), "fp8": Agreement(0.99, 0.99)}


def check_engine(
    engine: EmbeddingEngine, profile: ModelProfile, golden: Golden | None, agreement: Agreement = AGREEMENT[None]
) -> None:
    """Compute texts alone, together, and as long as a step, so that the first request finds everything compiled.

    Raises SetupError if a vector is not of unit length or not as wide as the model's, depends on what else is in the
    batch or not on its text, or is not the one in `golden`.
    """
    texts = probe_texts(engine, profile)
    together = _compute(engine, profile, texts)
    for text, vector in zip(texts, together, strict=True):
        (alone,) = _compute(engine, profile, [text])
        if not alone @ vector >= agreement.batch:
            raise SetupError(
                f"{profile.name} computes another vector for a text among others than for the text alone "
                f"(cosine {alone @ vector:.4f}, at least {agreement.batch} is needed): do not serve from this engine."
            )
    others = (together @ together.T)[~np.eye(len(texts), dtype=bool)]
    if others.max() > MAX_OTHER_COSINE:
        raise SetupError(f"{profile.name} computes the same vector for different texts: check the checkpoint.")
    if golden is not None:
        _check_golden(engine, profile, golden, agreement.golden)


def probe_texts(engine: EmbeddingEngine, profile: ModelProfile) -> list[TokenIds]:
    """Always the same ones, of which a sound engine computes good vectors; the last is as long as a step."""
    random = np.random.default_rng(7)
    longest = min(profile.max_tokens, engine.capacity_tokens)
    lengths = [min(length, longest) for length in (*PROBE_TOKENS, engine.step_tokens)]
    return [random.integers(profile.vocab_size, size=length, dtype=np.int32) for length in lengths]


def _check_golden(engine: EmbeddingEngine, profile: ModelProfile, golden: Golden, least: float) -> None:
    longest = min(profile.max_tokens, engine.capacity_tokens)
    if golden.vectors.shape[1] != profile.native_dimensions:
        raise SetupError(
            f"The reference vectors of {golden.model} have {golden.vectors.shape[1]} dimensions and "
            f"{profile.name} has {profile.native_dimensions}: give the file that belongs to the model."
        )
    if any(len(ids) > longest or ids.min() < 0 or ids.max() >= profile.vocab_size for ids in golden.ids):
        raise SetupError(
            f"The reference texts of {golden.model} are longer than {longest} tokens, the most {profile.name} takes, "
            "or have token ids it does not know: give the file that belongs to the model."
        )
    cosines = np.einsum("ij,ij->i", _compute(engine, profile, golden.ids), golden.vectors)
    if not cosines.min() >= least:
        raise SetupError(
            f"{profile.name} does not reproduce the reference vectors of {golden.model}: the worst cosine is "
            f"{cosines.min():.4f} and at least {least} is needed; check weights, dtype and quantization."
        )


def _compute(engine: EmbeddingEngine, profile: ModelProfile, texts: Sequence[TokenIds]) -> Vectors:
    """(texts, native dimensions), checked to be unit vectors; the engine must hold nothing else."""
    for key, ids in enumerate(texts):
        engine.add(key, ids, Priority.INTERACTIVE)
    vectors: dict[int, Vectors] = {}
    while len(vectors) < len(texts):
        vectors.update(engine.step(StepBounds.full(engine.step_tokens)).finished)
    rows = [vectors[key] for key in range(len(texts))]
    dimensions = profile.native_dimensions
    if any(row.shape != (dimensions,) for row in rows) or not are_unit_norm(np.stack(rows)):
        raise SetupError(f"{profile.name} does not give unit vectors of {dimensions} dimensions.")
    return np.stack(rows)
