"""Who is measured: servers of embeddings over HTTP, the bare engine over pipes. How they start is not known here."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np

from benchmarks import load as client
from benchmarks import texts
from benchmarks.load import Expected, Load, LoadFailed, Target
from benchmarks.processes import Process, pipes, tail
from benchmarks.rows import Figures
from serve_app.core.types import Vectors

MIN_COSINE = 0.999
BASE64_BYTES_OF_A_FLOAT = 16 / 3


class Contestant(Protocol):
    """Something that can be put under load. `ready_s` is the time its start took."""

    @property
    def label(self) -> str: ...

    @property
    def ready_s(self) -> float: ...

    def run(self, load: Load) -> Figures: ...


@dataclass(slots=True)
class Server:
    """A process that answers POST /v1/embeddings."""

    label: str
    target: Target
    process: Process
    ready_s: float
    counts_tokens: bool = True  # in `usage`; else characters, say, stand there
    _expected: dict[int, Expected] = field(default_factory=dict)

    def run(self, load: Load) -> Figures:
        """Raises LoadFailed if a request was not answered with 200 and a vector for each text."""
        if load.texts not in self._expected:
            vectors, tokens = self.embed(load.texts)
            self.expect(load.texts, vectors.shape[1], tokens)
        return client.run(self.target, load, self._expected[load.texts])

    def expect(self, size: int, dimensions: int, tokens: float) -> None:
        """From now on a request of `size` texts stands for so many tokens and must bring so many dimensions a text."""
        self._expected[size] = Expected(int(size * dimensions * BASE64_BYTES_OF_A_FLOAT), tokens)

    def embed(self, size: int) -> tuple[Vectors, float]:
        """(vectors, tokens of one request) of a whole batch of `size`, or of one short text of each kind."""
        inputs = texts.batch(size, 0) if size > 1 else [texts.short(serial) for serial in range(len(texts.SHORT_TEXTS))]
        body = {"model": self.target.model, "input": inputs, "encoding_format": "base64"}
        url = f"{self.target.endpoint}/v1/embeddings"
        try:
            response = httpx.post(url, json=body, timeout=client.REQUEST_TIMEOUT_S, trust_env=False)
        except httpx.TransportError as error:
            raise LoadFailed(f"{self.label} did not answer: {type(error).__name__}.") from error
        if response.status_code != 200:
            raise LoadFailed(f"{self.label} answered {response.status_code}: {response.text[:300]}")
        answer = response.json()
        rows = [np.frombuffer(b64decode(item["embedding"]), dtype="<f4") for item in answer["data"]]
        return np.stack(rows), answer["usage"]["total_tokens"] * size / len(inputs)


@dataclass(slots=True)
class BareEngine:
    """vLLM's LLMEngine in its own process."""

    label: str
    process: Process
    ready_s: float
    log: Path

    def run(self, load: Load) -> Figures:
        """Raises LoadFailed if the process ends or does not answer in time."""
        commands, _ = pipes(self.process)
        commands.write(json.dumps(asdict(load)) + "\n")
        commands.flush()
        return Figures(**read_object(self.process, load.seconds + client.REQUEST_TIMEOUT_S, self.log))


def read_object(process: Process, limit_s: float, log: Path) -> dict[str, Any]:
    """The next line of JSON the process prints. Raises LoadFailed if it ends first or needs longer than `limit_s`."""
    _, answers = pipes(process)
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.start()
    try:
        for line in answers:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
    finally:
        watchdog.cancel()
    raise LoadFailed(f"The bare engine ended, or took longer than {limit_s:.0f} s:\n{tail(log)}")


def check_agreement(ours: Server, theirs: Server, sizes: set[int]) -> None:
    """Raises LoadFailed unless both give the same vectors and, where both count tokens, as many: the same work."""
    for size in sizes:
        (a, tokens), (b, their_tokens) = ours.embed(size), theirs.embed(size)
        cosine = float(np.min(np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))))
        if not cosine >= MIN_COSINE:
            raise LoadFailed(f"{ours.label} and {theirs.label} disagree: cosine {cosine:.5f}, wanted {MIN_COSINE}.")
        if theirs.counts_tokens and tokens != their_tokens:
            raise LoadFailed(f"{ours.label} counts {tokens:.1f} tokens a request, {theirs.label} {their_tokens:.1f}.")
        theirs.expect(size, a.shape[1], tokens)
