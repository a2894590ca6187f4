"""The bare engine in a process of its own: one load a line on stdin, its figures as a line of JSON on stdout.

No HTTP, no JSON of vectors, no tokenising, no second process: what the engine gives when nothing stands before it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count, cycle
from pathlib import Path

from benchmarks import texts
from benchmarks.load import Load, summarise
from benchmarks.rows import Figures
from serve_app.core.engine import StepBounds
from serve_app.core.types import Priority, TokenIds
from serve_app.engines.vllm_engine import VllmEngine
from serve_app.model.checkpoint import read_profile
from serve_app.model.tokenizer import TextTokenizer
from serve_app.settings import EngineSettings, ModelSettings

DISTINCT_REQUESTS = 8  # the engine keeps no prefix cache, so it cannot profit when they come round again


class BareEngine:
    """One engine under closed-loop load."""

    def __init__(self, model: Path, threads: int) -> None:
        settings = ModelSettings(path=str(model), engine=EngineSettings(threads=threads))
        profile = read_profile(settings, model)
        self._tokenizer = TextTokenizer(profile)
        self._engine = VllmEngine(settings, profile)
        self._keys = count()

    def run(self, load: Load) -> Figures:
        """`load.connections` requests are under way at any time; tokenising is not part of the time."""
        serials = range(load.serial, load.serial + DISTINCT_REQUESTS * load.texts, load.texts)
        requests = [self._tokenizer.encode(texts.batch(load.texts, serial)) for serial in serials]
        tokens = sum(len(ids) for request in requests for ids in request) / len(requests)
        started = time.perf_counter()
        latencies = list(self._answer(cycle(requests), load))
        return summarise(latencies, time.perf_counter() - started, tokens, cpu_s=0.0)

    def _answer(self, requests: Iterator[list[TokenIds]], load: Load) -> Iterator[float]:
        """The latency of each request, in seconds, as it ends."""
        deadline = time.perf_counter() + load.seconds
        owners: dict[int, int] = {}  # engine key → request
        sent: dict[int, float] = {}
        missing: dict[int, int] = {}

        def send(number: int) -> None:
            sent[number], missing[number] = time.perf_counter(), load.texts
            for ids in next(requests):
                key = next(self._keys)
                owners[key] = number
                self._engine.add(key, ids, Priority.INTERACTIVE)

        numbers = count()
        for _ in range(load.connections):
            send(next(numbers))
        while owners:
            for key, _ in self._engine.step(StepBounds.full(self._engine.step_tokens)).finished:
                number = owners.pop(key)
                missing[number] -= 1
                if missing[number] == 0:
                    ended = time.perf_counter()
                    yield ended - sent[number]
                    if ended < deadline:
                        send(next(numbers))


def main(model: str, threads: str) -> None:
    engine = BareEngine(Path(model), int(threads))
    print('{"ready": true}', flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(engine.run(Load(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
