"""Closed-loop clients: every connection sends its next request when the last one is answered."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import which

import httpx
import numpy as np

from benchmarks import texts
from benchmarks.rows import Figures
from serve_app.core.errors import EmbedError, SetupError

LUA_SCRIPT = Path(__file__).with_name("one_text.lua")
REQUEST_TIMEOUT_S = 60
HEADERS = {"Content-Type": "application/json"}


class LoadFailed(EmbedError):
    """A load whose figures would mean nothing, because some request did not get its vectors."""


@dataclass(frozen=True, slots=True)
class Target:
    endpoint: str
    model: str


@dataclass(frozen=True, slots=True)
class Load:
    """`connections` connections send requests of `texts` texts for `seconds`, numbered from `serial` on."""

    texts: int
    connections: int
    seconds: float
    serial: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What one answer of a load must hold at least, and the tokens it stands for."""

    body_bytes: int
    tokens: float


@dataclass(frozen=True, slots=True)
class WrkReport:
    """What wrk saw. `failures` maps a kind (status, connect, read, write, timeout) to its count, zeros left out."""

    requests: int
    seconds: float
    bytes_read: int
    p50_ms: float
    p99_ms: float
    failures: dict[str, int]


def parse_wrk(output: str) -> WrkReport:
    """The report line that the Lua script prints after wrk's own text. Raises LoadFailed if there is none."""
    line = next((line for line in reversed(output.splitlines()) if line.startswith('{"requests"')), None)
    if line is None:
        raise LoadFailed("wrk ended without a report.")
    fields: dict[str, int] = json.loads(line)
    kinds = ("status", "connect", "read", "write", "timeout")
    return WrkReport(
        requests=fields["requests"],
        seconds=fields["duration_us"] / 1e6,
        bytes_read=fields["bytes"],
        p50_ms=fields["p50_us"] / 1e3,
        p99_ms=fields["p99_us"] / 1e3,
        failures={kind: fields[kind] for kind in kinds if fields[kind]},
    )


def check_wrk() -> None:
    """Raises SetupError with the way to get wrk."""
    if which("wrk") is None:
        raise SetupError("wrk is not installed: on Debian and Ubuntu run `sudo apt-get install wrk`.")


def run(target: Target, load: Load, expected: Expected) -> Figures:
    """Figures of one load. Raises LoadFailed unless every request was answered with its vectors."""
    return _run_wrk(target, load, expected) if load.texts == 1 else _run_batches(target, load, expected)


def _run_wrk(target: Target, load: Load, expected: Expected) -> Figures:
    options = [f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", f"--timeout={REQUEST_TIMEOUT_S}s"]
    arguments = [target.model, str(load.serial), *texts.SHORT_TEXTS]
    command = ["wrk", "-t1", *options, "-s", str(LUA_SCRIPT), target.endpoint, "--", *arguments]
    cpu_s = _children_cpu_s()
    limit_s = load.seconds + REQUEST_TIMEOUT_S
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    cpu_s = _children_cpu_s() - cpu_s
    if done.returncode != 0:
        raise LoadFailed(f"wrk failed against {target.endpoint}: {' '.join(done.stderr.split())}")
    report = parse_wrk(done.stdout)
    check_answers(report, expected)
    rate = report.requests / report.seconds
    return Figures(rate, report.p50_ms, report.p99_ms, rate * expected.tokens, cpu_s / report.seconds)


def check_answers(report: WrkReport, expected: Expected) -> None:
    """Raises LoadFailed for errors, silence, or answers too small to hold a vector each."""
    if report.failures:
        raise LoadFailed(f"Beside {report.requests} answers wrk counted failures: {report.failures}.")
    if report.requests == 0:
        raise LoadFailed("No request was answered in the time of the load: choose more --seconds.")
    if report.bytes_read < report.requests * expected.body_bytes:
        raise LoadFailed(f"{report.requests} answers had {report.bytes_read} bytes, too few for a vector in each.")


def _run_batches(target: Target, load: Load, expected: Expected) -> Figures:
    """wrk would count only what ends within the time, too coarse for a handful of long requests: this waits for all."""
    serials = count(load.serial, load.texts)
    started, cpu_s = time.perf_counter(), time.process_time()

    def connection() -> list[float]:
        latencies = []
        with httpx.Client(base_url=target.endpoint, timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
            while time.perf_counter() - started < load.seconds:
                body = texts.body(target.model, load.texts, next(serials))
                sent = time.perf_counter()
                response = client.post("/v1/embeddings", content=body, headers=HEADERS)
                latencies.append(time.perf_counter() - sent)
                if response.status_code != 200 or len(response.content) < expected.body_bytes:
                    raise LoadFailed(f"{target.endpoint} answered {response.status_code} without all vectors.")
        return latencies

    with ThreadPoolExecutor(load.connections) as pool:
        futures = [pool.submit(connection) for _ in range(load.connections)]
    latencies = [latency for future in futures for latency in future.result()]
    return summarise(latencies, time.perf_counter() - started, expected.tokens, time.process_time() - cpu_s)


def summarise(latencies_s: list[float], wall_s: float, tokens: float, cpu_s: float) -> Figures:
    """Figures of a load that took `wall_s`: one latency a request, each request of `tokens` tokens."""
    rate = len(latencies_s) / wall_s
    p50, p99 = np.percentile(np.array(latencies_s) * 1e3, [50, 99])
    return Figures(rate, float(p50), float(p99), rate * tokens, cpu_s / wall_s)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
