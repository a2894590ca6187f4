"""One case in a process of its own: `python -m benchmarks.gpu.case_process JOB`, with a Job as JSON.

Each load is answered with a line of JSON as it ends: what it gave, or why it could not be measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import ceilings, servers
from benchmarks.gpu.cases import Case, Scale
from benchmarks.gpu.engine import EngineLoads
from benchmarks.gpu.http_loads import HttpLoads
from benchmarks.gpu.rows import Measured
from serve_app.core.errors import EmbedError

REASON_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Job:
    """The case holds only the loads that are wanted. `directory` is the checkpoint; a dummy one has no weights."""

    case: Case
    scale: Scale
    directory: str
    is_dummy: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        fields: dict[str, Any] = json.loads(text)
        case = replace(Case(**fields["case"]), loads=tuple(fields["case"]["loads"]))
        return cls(case, Scale(**fields["scale"]), fields["directory"], fields["is_dummy"])


@dataclass(frozen=True, slots=True)
class Failed:
    """A load without figures; an empty name stands for the whole case."""

    load: str
    reason: str


def answers(job: Job) -> Iterator[Measured | Failed]:
    """What each load gave, in their order. Raises EmbedError if engine or server do not start."""
    with ExitStack() as stack:
        run = _starter(job)(stack, job)
        for load in job.case.loads:
            try:
                yield run(load)
            except EmbedError as error:
                yield Failed(load, error.message[-REASON_CHARACTERS:])


def parse(line: str) -> Measured | Failed | None:
    """What a line of the process says; None if it is one that some library printed."""
    if not line.startswith('{"load"'):
        return None
    fields: dict[str, Any] = json.loads(line)
    return Failed(**fields) if "reason" in fields else Measured(**fields)


Run = Callable[[str], Measured]


def _starter(job: Job) -> Callable[[ExitStack, Job], Run]:
    if job.case.kind == "ceilings":
        return _ceilings
    return _engine if job.case.kind == "engine" else _server


def _ceilings(_: ExitStack, job: Job) -> Run:
    return lambda load: Measured(load, ceilings.measure(job.scale.seconds / 4))


def _engine(stack: ExitStack, job: Job) -> Run:
    loads = EngineLoads(job.case, Path(job.directory), job.scale, is_dummy=job.is_dummy)
    stack.callback(loads.close)
    return loads.run


def _server(stack: ExitStack, job: Job) -> Run:
    start = servers.start_product if job.case.kind == "product" else servers.start_peer
    directory = Path(job.directory)
    loads = HttpLoads(start(stack, job.case, directory, job.scale), directory, job.scale)
    stack.callback(loads.close)
    return loads.run


def main(text: str) -> None:
    try:
        for answer in answers(Job.from_json(text)):
            print(json.dumps(asdict(answer)), flush=True)
    except EmbedError as error:
        print(json.dumps(asdict(Failed("", error.message[-REASON_CHARACTERS:]))), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
