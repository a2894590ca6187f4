"""The bare engine in this process: token ids in, vectors out, nothing before it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.cases import MIXED, Case, Scale, lengths_of
from benchmarks.gpu.device import has_gpu, sampled
from benchmarks.gpu.rows import Measured
from benchmarks.gpu.shapes import Shape, read_shape
from benchmarks.load import LoadFailed
from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority, TokenIds, Vectors
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.model.checkpoint import read_profile
from serve_app.settings import EngineSettings, ModelSettings

DISTINCT = 256  # texts of one load; the engine keeps no prefix cache, so it does not profit when they come again
STEPS_AHEAD = 2  # steps' worth of tokens that are in the engine at any time
COMPARED_TEXTS = 64
UNIT = 1e-2  # how far from 1 the length of a vector may be


def engine_settings(case: Case, scale: Scale) -> EngineSettings:
    """Of the engine alone or in the product."""
    return EngineSettings(
        step_tokens=max(64, case.step_tokens // scale.step_divisor),
        step_texts=scale.step_texts,
        quantization="fp8" if case.precision == "fp8" else None,
        compile=case.is_compiled,
    )


def random_texts(lengths: Sequence[int], number: int, shape: Shape, end: int, seed: int) -> Iterator[TokenIds]:
    """`number` texts of these lengths in turn, each ending with the end token."""
    random = np.random.default_rng(seed)
    for _, length in zip(range(number), cycle(lengths), strict=False):
        ids = random.integers(3, shape.vocabulary, size=length, dtype=np.int32)
        ids[-1] = end
        yield ids


class EngineLoads:
    """One engine, and the loads it is put under."""

    def __init__(self, case: Case, model: Path, scale: Scale, *, is_dummy: bool) -> None:
        started = time.perf_counter()
        settings = ModelSettings(
            path=str(model), gpus_per_replica=float(has_gpu()), engine=engine_settings(case, scale)
        )
        self._profile, self._shape = read_profile(settings, model), read_shape(model)
        arguments = {**case.arguments, **({"load_format": "dummy"} if is_dummy else {})}
        self._engine = VllmEngine(settings, self._profile, arguments)
        self._ready_s = time.perf_counter() - started
        self._case, self._scale = case, scale
        weights = self._profile.fingerprint.partition("-")[0] or "dummy"
        self._vectors = model.with_name(f"{model.name}-vectors-{weights}.npy")
        self._keys, self._seeds = count(), count(1)

    def run(self, load: str) -> Measured:
        """Raises LoadFailed for vectors that are none, or a comparison that lacks its other side."""
        form = load.partition("-")[0]
        figures: dict[str, float] = {}
        with sampled(figures):
            if form == "vectors":
                found = self._compare()
            else:
                lengths = lengths_of(load, self._profile.max_tokens)
                if not lengths:
                    raise LoadFailed(f"{load}: the model takes at most {self._profile.max_tokens} tokens.")
                found = self._alone(lengths) if form == "alone" else self._full(lengths)
        return Measured(load, {**found, **figures}, ready_s=self._ready_s)

    def close(self) -> None:
        self._engine.close()

    def _full(self, lengths: Sequence[int]) -> dict[str, float]:
        texts = list(self._texts(lengths, DISTINCT))
        _check(self._drive(iter(texts[: 2 * len(lengths)]), []))
        deque(self._drive(self._endless(texts, self._scale.seconds / 3), []), maxlen=0)
        steps: list[float] = []
        started = time.perf_counter()
        done = [number for number, _ in self._drive(self._endless(texts, self._scale.seconds), steps)]
        wall_s = time.perf_counter() - started
        tokens = sum(len(texts[number % len(texts)]) for number in done)
        p50, p95 = np.percentile(np.array(steps) * 1e3, [50, 95])
        return {
            "tokens_per_s": tokens / wall_s,
            "texts_per_s": len(done) / wall_s,
            "flops_per_s": tokens / wall_s * self._shape.flops_per_token(lengths),
            "mean_tokens": float(np.mean(lengths)),
            "steps": float(len(steps)),
            "tokens_per_step": tokens / len(steps),
            "step_p50_ms": float(p50),
            "step_p95_ms": float(p95),
            "in_step_share": sum(steps) / wall_s,
        }

    def _alone(self, lengths: Sequence[int]) -> dict[str, float]:
        """Latency of one text in an idle engine."""
        latencies, deadline = [], time.perf_counter() + self._scale.seconds
        for number, text in enumerate(cycle(list(self._texts(lengths, DISTINCT)))):
            started = time.perf_counter()
            deque(self._drive(iter([text]), []), maxlen=0)
            if number >= 3:
                latencies.append((time.perf_counter() - started) * 1e3)
            if latencies and time.perf_counter() > deadline:
                break
        p50, p99 = np.percentile(latencies, [50, 99])
        return {"p50_ms": float(p50), "p99_ms": float(p99)}

    def _compare(self) -> dict[str, float]:
        """Vectors of fixed texts: those of bf16 are kept, others are compared with them."""
        lengths = [length for length in MIXED if length <= self._profile.max_tokens]
        texts = random_texts(lengths, COMPARED_TEXTS, self._shape, self._end, seed=0)
        vectors = _check(self._drive(texts, []))
        if self._case.precision == "bf16":
            np.save(self._vectors, vectors)
            return {"texts": float(COMPARED_TEXTS)}
        if not self._vectors.exists():
            raise LoadFailed("There are no vectors in bf16 to compare with: run the case `engine` first.")
        cosines = np.sum(vectors * np.load(self._vectors), axis=1)
        return {
            "texts": float(COMPARED_TEXTS),
            "cosine_least": float(cosines.min()),
            "cosine_mean": float(cosines.mean()),
        }

    @property
    def _end(self) -> int:
        return self._profile.end_token_id or 0

    def _texts(self, lengths: Sequence[int], number: int) -> Iterator[TokenIds]:
        return random_texts(lengths, number, self._shape, self._end, next(self._seeds))

    def _endless(self, texts: Sequence[TokenIds], seconds: float) -> Iterator[TokenIds]:
        deadline = time.perf_counter() + seconds
        for text in cycle(texts):
            if time.perf_counter() > deadline:
                return
            yield text

    def _drive(self, texts: Iterator[TokenIds], steps: list[float]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the text, vector) as they are done; as many are in the engine as keep it busy."""
        ahead, in_engine, numbers = STEPS_AHEAD * self._engine.step_tokens, 0, count()
        bounds = StepBounds.full(self._engine.step_tokens)
        owners: dict[int, tuple[int, int]] = {}  # engine key → (number of the text, its tokens)
        while True:
            while in_engine < ahead and (text := next(texts, None)) is not None:
                key = next(self._keys)
                owners[key] = (next(numbers), len(text))
                in_engine += len(text)
                self._engine.add(key, text, Priority.BULK)
            if not owners:
                return
            started = time.perf_counter()
            done = self._engine.step(bounds).finished
            steps.append(time.perf_counter() - started)
            for key, vector in done:
                number, tokens = owners.pop(key)
                in_engine -= tokens
                yield number, vector


def _check(done: Iterable[tuple[int, NDArray[np.float32]]]) -> Vectors:
    """The vectors in the order of their texts. Raises LoadFailed unless all are finite and of length 1."""
    vectors = np.stack([vector for _, vector in sorted(done, key=lambda item: item[0])])
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(vectors).all() or np.abs(lengths - 1).max() > UNIT:
        raise LoadFailed(f"The engine gave vectors of length {lengths.min():.4f} to {lengths.max():.4f}.")
    return vectors
