"""The bare engine fed with an ingestion's slices: `python -m benchmarks.ingest_engine MODEL THREADS SLICES`.

A line on stdin, the number of slices to embed, is answered with one of JSON: how many tokens that were and how long
it took. As many slices are under way as the embed stage keeps, and each is handed over whole.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import count, pairwise
from pathlib import Path

import numpy as np

from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority, TokenIds
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.model.checkpoint import read_profile
from serve_app.settings import EngineSettings, ModelSettings

SLICES = "slices.npz"


def save_slices(path: Path, slices: Sequence[Sequence[TokenIds]]) -> None:
    texts = [text for slice_ in slices for text in slice_]
    sizes = [len(slice_) for slice_ in slices]
    np.savez(path, ids=np.concatenate(texts), lengths=[len(text) for text in texts], sizes=sizes)


def load_slices(path: Path) -> list[list[TokenIds]]:
    with np.load(path) as held:
        texts = np.split(held["ids"], np.cumsum(held["lengths"])[:-1])
        bounds = np.cumsum([0, *held["sizes"]])
    return [texts[start:stop] for start, stop in pairwise(bounds)]


def embed_all(engine: VllmEngine, slices: Sequence[Sequence[TokenIds]], at_once: int) -> None:
    """Return when every text has its vector; a slice that is done makes room for the next."""
    keys, waiting = count(), iter(slices)
    slice_of: dict[int, int] = {}
    missing: dict[int, int] = {}

    def send(number: int) -> None:
        slice_ = next(waiting, None)
        if slice_ is None:
            return
        missing[number] = len(slice_)
        for text in slice_:
            key = next(keys)
            slice_of[key] = number
            engine.add(key, text, Priority.BULK)

    numbers = count()
    for _ in range(at_once):
        send(next(numbers))
    while slice_of:
        for key, _ in engine.step(StepBounds.full(engine.step_tokens)).finished:
            number = slice_of.pop(key)
            missing[number] -= 1
            if missing[number] == 0:
                send(next(numbers))


def main(model: str, threads: str, slices_file: str, at_once: str) -> None:
    settings = ModelSettings(path=model, engine=EngineSettings(threads=int(threads)))
    engine = VllmEngine(settings, read_profile(settings, Path(model)))
    slices = load_slices(Path(slices_file))
    print('{"ready": true}', flush=True)
    for line in sys.stdin:
        mine = slices[: int(line)]
        started = time.perf_counter()
        embed_all(engine, mine, int(at_once))
        answer = {"tokens": sum(len(text) for slice_ in mine for text in slice_)}
        print(json.dumps({**answer, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
