"""A closed-loop client in processes of its own, so that one Python is not what limits the server.

`python -m benchmarks.gpu.client REQUESTS` says when it is ready, begins with the first line on stdin and answers with
what it saw, both as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import orjson

from benchmarks import http_client, texts
from benchmarks.contestants import read_object
from benchmarks.load import LoadFailed, Target
from benchmarks.processes import START_LIMIT_S, pipes, start, stop
from tests.tiny_qwen3 import CORPUS

Form = Literal["ids", "text", "short"]
PROCESSES = max(1, min(4, (os.cpu_count() or 1) // 4))
WORDS = tuple(word for text in CORPUS if text.isascii() for word in text.split())
ANSWER_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Requests:
    """Every request holds one text of each of `lengths`, in tokens for `ids` and in words for `text`.

    None of the texts is ever sent twice with the same or a far enough `seed`; `short` sends texts.short one by one.
    """

    endpoint: str
    model: str
    form: Form
    lengths: tuple[int, ...]
    connections: int
    seconds: float
    seed: int
    vocabulary: int
    end: int

    def bodies(self) -> Iterator[bytes]:
        random = np.random.default_rng(self.seed)
        for serial in count(self.seed * texts.SERIALS_A_LOAD):
            yield self._body(serial, random)

    def _body(self, serial: int, random: np.random.Generator) -> bytes:
        if self.form == "short":
            return texts.body(self.model, 1, serial)
        lengths = random.permutation(self.lengths)
        inputs = [self._ids(size, random) if self.form == "ids" else _text(serial, size, random) for size in lengths]
        request = {"model": self.model, "input": inputs, "encoding_format": "base64"}
        return orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)

    def _ids(self, length: int, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        ids = random.integers(3, self.vocabulary, size=length, dtype=np.int32)
        ids[-1] = self.end
        return ids


@dataclass(frozen=True, slots=True)
class Seen:
    """What all client processes saw together. `cpus` is how many cores they kept busy."""

    requests: int
    seconds: float
    latencies_ms: tuple[float, ...]
    cpus: float

    def figures(self, tokens: float, inputs: int) -> dict[str, float]:
        """Of requests with so many tokens and texts each. Raises LoadFailed if none was answered."""
        if not self.latencies_ms:
            raise LoadFailed("No request was answered in the time of the load: choose more --seconds.")
        rate = self.requests / self.seconds
        p50, p99 = np.percentile(self.latencies_ms, [50, 99])
        return {
            "tokens_per_s": rate * tokens,
            "texts_per_s": rate * inputs,
            "requests_per_s": rate,
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "mean_tokens": tokens / inputs,
            "client_cpus": self.cpus,
        }


def run(requests: Requests, log: Path) -> Seen:
    """Put the load on the server from PROCESSES processes, or fewer if there are fewer connections.

    Raises LoadFailed if one of them does not get its vectors.
    """
    number = min(PROCESSES, requests.connections)
    shares = [requests.connections // number + (index < requests.connections % number) for index in range(number)]
    with ExitStack() as stack:
        processes = []
        for index, connections in enumerate(shares):
            mine = replace(requests, connections=connections, seed=requests.seed * PROCESSES + index)
            process = start(
                ["-m", "benchmarks.gpu.client", json.dumps(asdict(mine))],
                {},
                log.with_name(f"{log.stem}-{index}.log"),
                has_pipes=True,
            )
            stack.callback(stop, process)
            processes.append(process)
        logs = [log.with_name(f"{log.stem}-{index}.log") for index in range(number)]
        for process, own in zip(processes, logs, strict=True):
            read_object(process, START_LIMIT_S, own)
        for process in processes:
            pipes(process)[0].write("go\n")
            pipes(process)[0].flush()
        limit_s = requests.seconds + ANSWER_LIMIT_S
        return merge([read_object(process, limit_s, own) for process, own in zip(processes, logs, strict=True)])


def merge(answers: Sequence[dict[str, object]]) -> Seen:
    latencies = [tuple(map(float, np.asarray(answer["latencies_ms"]))) for answer in answers]
    seconds = max(float(str(answer["seconds"])) for answer in answers)
    cpus = sum(float(str(answer["cpu_s"])) for answer in answers) / seconds
    together = tuple(value for mine in latencies for value in mine)
    return Seen(len(together), seconds, together, cpus)


def _text(serial: int, words: int, random: np.random.Generator) -> str:
    return f"{serial} {' '.join(random.choice(WORDS, size=words))}"


def main(argument: str) -> None:
    fields = json.loads(argument)
    requests = Requests(**{**fields, "lengths": tuple(fields["lengths"])})
    print('{"ready": true}', flush=True)
    sys.stdin.readline()
    started, cpu_s = time.perf_counter(), time.process_time()
    target = Target(requests.endpoint, requests.model)
    end = started + requests.seconds
    samples = http_client.run(
        http_client.closed_loop(target, requests.bodies(), requests.connections, lambda: time.perf_counter() < end)
    )
    answer = {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu_s,
        "latencies_ms": [round(sample.latency_s * 1e3, 3) for sample in samples],
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
