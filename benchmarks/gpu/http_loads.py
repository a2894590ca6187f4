"""The loads that a server is put under: the product's and the peer's are the same."""

from __future__ import annotations

import shutil
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from math import ceil
from pathlib import Path

import httpx
import numpy as np

from benchmarks import http_client, ingest_corpus, ingest_job, isolation
from benchmarks.contestants import Server, read_object
from benchmarks.gpu import client
from benchmarks.gpu.cases import Scale, lengths_of
from benchmarks.gpu.client import WORDS, Requests
from benchmarks.gpu.device import sampled
from benchmarks.gpu.rows import Measured
from benchmarks.gpu.shapes import read_shape
from benchmarks.load import REQUEST_TIMEOUT_S, LoadFailed
from benchmarks.processes import START_LIMIT_S, Process, pipes, start, stop
from serve_app.core.errors import SetupError
from serve_app.model.checkpoint import read_profile
from serve_app.model.tokenizer import TextTokenizer
from serve_app.settings import ModelSettings

MOST_TEXTS = 256  # of one request
RATE_LOAD = "ids-512"
FLOOD_TEXT_TOKENS = 130  # about, of a text of benchmarks.isolation's flood
JOB_SECONDS = 3  # so many times the seconds of another load, for a job takes a while to get going
TOKENS_A_FILE = 12_000  # about, of ingest_corpus
MOST_FILES = 600
UNIT = 1e-2


class HttpLoads:
    """One server that is up, and the loads it is put under."""

    def __init__(self, server: Server, model: Path, scale: Scale) -> None:
        self._server, self._model, self._scale = server, model, scale
        settings = ModelSettings(path=str(model))
        self._profile, self._shape = read_profile(settings, model), read_shape(model)
        self._tokenizer = TextTokenizer(self._profile)
        self._seeds = count(1)
        self._rates: dict[str, float] = {}  # tokens/s of the loads that have run
        self._stage: Process | None = None

    def run(self, load: str) -> Measured:
        """Raises LoadFailed or SetupError if this load cannot be measured; others may still be."""
        form, _, size = load.partition("-")
        figures: dict[str, float] = {}
        with sampled(figures):
            if form in ("ids", "text"):
                found = Measured(load, self._sized(load))
            elif form == "short":
                found = Measured(load, self._drive(self._requests("short", (1,), int(size))))
            else:
                found = _OTHERS[form](self, load)
        return replace(found, figures={**found.figures, **figures}, ready_s=self._server.ready_s)

    def close(self) -> None:
        if self._stage is not None:
            stop(self._stage)

    def _sized(self, load: str) -> dict[str, float]:
        lengths = lengths_of(load, self._profile.max_tokens)
        if not lengths:
            raise LoadFailed(f"{load}: the model takes at most {self._profile.max_tokens} tokens.")
        figures = self._drive(self._sized_requests(load.partition("-")[0], lengths))
        self._rates[load] = figures["tokens_per_s"]
        return figures

    def _sized_requests(self, form: str, lengths: tuple[int, ...]) -> Requests:
        most = max(1, self._scale.request_tokens // sum(lengths))
        lengths *= min(most, max(1, MOST_TEXTS // len(lengths)))
        if form == "ids":
            return self._requests("ids", lengths, self._scale.connections)
        return self._requests("text", tuple(self._words(length) for length in lengths), self._scale.connections)

    def _words(self, tokens: int) -> int:
        """How many words make a text of about so many tokens."""
        return max(1, round((tokens - self._frame) / self._tokens_per_word))

    @cached_property
    def _frame(self) -> int:
        return len(self._tokenizer.encode(["1000000 "])[0])

    @cached_property
    def _tokens_per_word(self) -> float:
        return len(self._tokenizer.encode([" ".join(WORDS)])[0]) / len(WORDS)

    def _requests(self, form: client.Form, lengths: tuple[int, ...], connections: int) -> Requests:
        target = self._server.target
        return Requests(
            endpoint=target.endpoint,
            model=target.model,
            form=form,
            lengths=lengths,
            connections=connections,
            seconds=self._scale.seconds,
            seed=next(self._seeds),
            vocabulary=self._shape.vocabulary,
            end=self._profile.end_token_id or 0,
        )

    def _drive(self, requests: Requests) -> dict[str, float]:
        """A warm-up that does not count, then the load."""
        tokens, inputs = self._probe(replace(requests, seed=next(self._seeds)))
        log = self._model.with_name("client.log")
        client.run(replace(requests, seed=next(self._seeds), seconds=self._scale.seconds / 3), log)
        figures = client.run(requests, log).figures(tokens, inputs)
        mean = max(1, round(tokens / inputs))
        lengths = requests.lengths if requests.form == "ids" else (mean,)
        return {**figures, "flops_per_s": figures["tokens_per_s"] * self._shape.flops_per_token(lengths)}

    def _probe(self, requests: Requests) -> tuple[float, int]:
        """(tokens, texts) of one request, whose answer is looked at closely. Raises LoadFailed."""
        url = f"{requests.endpoint}/v1/embeddings"
        body, headers = next(requests.bodies()), {"Content-Type": "application/json"}
        try:
            response = httpx.post(url, content=body, headers=headers, timeout=REQUEST_TIMEOUT_S, trust_env=False)
        except httpx.TransportError as error:
            raise LoadFailed(f"{url} did not answer: {type(error).__name__}.") from error
        if response.status_code != 200:
            raise LoadFailed(f"{url} answered {response.status_code}: {response.text[:300]}")
        answer = response.json()
        vectors = np.stack([np.frombuffer(b64decode(item["embedding"]), dtype="<f4") for item in answer["data"]])
        norms = np.linalg.norm(vectors, axis=1)
        if vectors.shape[1] != self._shape.hidden or not np.abs(norms - 1).max() <= UNIT:
            raise LoadFailed(f"{url} gave {vectors.shape[1]} dimensions and lengths {norms.min()} to {norms.max()}.")
        return float(answer["usage"]["total_tokens"]), len(vectors)

    @property
    def _tokens_per_s(self) -> float:
        """About what it carries, to choose how much a flood or a job needs."""
        return self._rates.get(RATE_LOAD) or self._sized(RATE_LOAD)["tokens_per_s"]

    def _flood(self, load: str) -> Measured:
        requests = self._scale.seconds * self._tokens_per_s / (isolation.FLOOD_TEXTS * FLOOD_TEXT_TOKENS)
        flood = max(isolation.FLOOD_CONNECTIONS + 1, ceil(requests))
        loads = isolation.Loads(self._server.target, self._scale.seconds, flood)
        http_client.run(loads.alone(max(isolation.CLIENTS), self._scale.seconds / 3))
        found = http_client.run(loads.trial(1))
        return Measured(load, {**found.figures, "flood_requests": float(flood)}, found.series)

    def _embed(self, load: str) -> Measured:
        lengths = lengths_of(load, self._profile.max_tokens)
        log = self._model.with_name("embed-stage.log")
        if self._stage is None:
            address = ingest_job.ray_address(self._server)
            arguments = ["-m", "benchmarks.gpu.embed_process", address, self._server.target.model]
            self._stage = start(arguments, {}, log, has_pipes=True)
            read_object(self._stage, START_LIMIT_S, log)
        for seconds in (self._scale.seconds / 3, self._scale.seconds):
            pipes(self._stage)[0].write(f'{{"lengths": {list(lengths)}, "seconds": {seconds}}}\n')
            pipes(self._stage)[0].flush()
            done = read_object(self._stage, seconds + START_LIMIT_S, log)
        rate = done["tokens"] / done["seconds"]
        flops = rate * self._shape.flops_per_token(lengths)
        return Measured(
            load, {"tokens_per_s": rate, "texts_per_s": done["texts"] / done["seconds"], "flops_per_s": flops}
        )

    def _job(self, load: str) -> Measured:
        if find_spec("pymilvus") is None or find_spec("milvus_lite") is None:
            raise SetupError("A whole ingestion needs pymilvus and milvus-lite; `embed-512` is its embed stage alone.")
        tokens = max(self._scale.job_tokens_least, self._tokens_per_s * self._scale.seconds * JOB_SECONDS)
        folder = self._model.with_name("gpu-job")
        shutil.rmtree(folder, ignore_errors=True)
        ingest_corpus.write_folder(folder / "corpus", min(MOST_FILES, max(1, round(tokens / TOKENS_A_FILE))))
        try:
            seen = ingest_job.run_watched(self._server, folder / "corpus", folder / "store")
        finally:
            shutil.rmtree(folder)
        rate, mean = seen.engine.tokens / seen.engine.seconds, seen.engine.tokens / seen.job.told["embedded"]
        figures = {
            "tokens_per_s": rate,
            "flops_per_s": rate * self._shape.flops_per_token((round(mean),)),
            "mean_tokens": mean,
            "chunks": seen.job.told["chunks"],
            "engine_share": seen.engine.step_s / seen.engine.seconds,
            "cores_busy": seen.cores_busy,
            "command_s": seen.job.command_s,
        }
        return Measured(load, figures)


_OTHERS: dict[str, Callable[[HttpLoads, str], Measured]] = {
    "flood": HttpLoads._flood,
    "embed": HttpLoads._embed,
    "job": HttpLoads._job,
}
