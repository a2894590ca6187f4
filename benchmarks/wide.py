"""What does a wide answer cost the Router? `python -m benchmarks.wide`, about 3 minutes.

A checkpoint with the width of Qwen3-Embedding-4B and one thin layer, requests of 2,048 short inputs, answers in base64.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import Tokenizer

from benchmarks import http_client, launch, texts, trials
from benchmarks.contestants import BASE64_BYTES_OF_A_FLOAT, Server
from benchmarks.http_client import Connection
from benchmarks.load import LoadFailed, Target
from benchmarks.trials import Outcome, Plan
from benchmarks.usage import EMBEDDER, ROUTER, find_replica

INPUTS, DIMENSIONS = 2048, 2560
WARM_UP_REQUESTS = 2


def main(
    count_trials: Annotated[int, typer.Option("--trials", min=1, help="The report wants five or more.")] = 5,
    requests: Annotated[int, typer.Option(min=1, help="Requests of each kind in a trial.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Do nothing if this commit has these rows.")] = False,
) -> None:
    """Measure the CPU time that Router and Embedder spend on each vector of a large, wide answer."""
    plan = Plan("wide", count_trials, {"requests": requests, "inputs": INPUTS, "dimensions": DIMENSIONS}, resume)
    model = launch.CACHE / launch.WIDE.name

    def start(stack: ExitStack) -> Server:
        return launch.start_cluster(stack, launch.build_checkpoint(launch.CACHE, launch.WIDE))

    def measure(server: Server) -> Callable[[int], Outcome]:
        wide = Wide(server, model)
        for _ in range(WARM_UP_REQUESTS):
            wide.load("texts", 1)
        return lambda number: wide.trial(requests, number)

    trials.run(plan, start, measure)


class Wide:
    """Requests to one cluster, and the CPU time its replicas spend on them. No text is sent twice."""

    def __init__(self, server: Server, model: Path) -> None:
        self._target = server.target
        self._router, self._embedder = find_replica(server.process, ROUTER), find_replica(server.process, EMBEDDER)
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._serials = count(INPUTS, INPUTS)

    def trial(self, requests: int, number: int) -> Outcome:
        """Both kinds of input, in an order that turns from trial to trial."""
        kinds = ("ids", "texts") if number % 2 else ("texts", "ids")
        return Outcome({name: value for kind in kinds for name, value in self.load(kind, requests).items()})

    def load(self, kind: str, requests: int) -> dict[str, float]:
        """Figures of `requests` requests, one after the other. Raises LoadFailed for an answer without all vectors."""
        bodies = [self._body(kind, next(self._serials)) for _ in range(requests)]
        router_s, embedder_s, started = self._router.cpu_s(), self._embedder.cpu_s(), time.perf_counter()
        http_client.run(_send(self._target, bodies))
        vectors = requests * INPUTS
        return {
            f"router_us_{kind}": (self._router.cpu_s() - router_s) * 1e6 / vectors,
            f"embedder_us_{kind}": (self._embedder.cpu_s() - embedder_s) * 1e6 / vectors,
            f"request_s_{kind}": (time.perf_counter() - started) / requests,
        }

    def _body(self, kind: str, serial: int) -> bytes:
        inputs = [texts.short(serial + index) for index in range(INPUTS)]
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(inputs)] if kind == "ids" else inputs
        request = {"model": self._target.model, "input": encoded, "encoding_format": "base64"}
        return json.dumps(request, ensure_ascii=False).encode()


async def _send(target: Target, bodies: list[bytes]) -> None:
    connection = await Connection.open(target)
    try:
        for body in bodies:
            answer = await connection.post(body)
            if answer.status != 200 or len(answer.body) < INPUTS * DIMENSIONS * BASE64_BYTES_OF_A_FLOAT:
                raise LoadFailed(f"{target.endpoint} answered {answer.status} without all vectors.")
    finally:
        connection.close()


if __name__ == "__main__":
    typer.run(main)
