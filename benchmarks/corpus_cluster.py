"""The cluster that embeds the corpus, and `embedctl` as a user would call it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.processes import HOST, free_port, start, stop, wait_until_said
from benchmarks.rows import ROOT
from cluster.config import OFFLINE_MODEL
from serve_app.core.errors import SetupError
from serve_app.model.checkpoint import locate

PORT = 8470
STARTED = "Ctrl-C stops"  # the last line of `embedctl serve`
_RAY_ADDRESS = re.compile(r"Ray's address.*?([\w.\[\]:-]+:\d+)\s*$", re.DOTALL | re.MULTILINE)
SOME_LEFT_OUT = 3  # exit code
COMMAND_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Cluster:
    endpoint: str
    address: str  # Ray's


def start_cluster(stack: ExitStack, cache: Path) -> Cluster:
    """`embedctl serve` with the offline English model. Raises SetupError."""
    port, log = free_port(PORT), cache / "serve.log"
    config = cache / "serve.yaml"
    model = {"path": str(_cuttable(cache / "model")), "name": OFFLINE_MODEL.name}
    config.write_text(yaml.safe_dump({"models": [model]}), encoding="utf-8")
    process = start(["-m", "cluster.cli", "serve", "--config", str(config), "--port", str(port)], {}, log)
    stack.callback(stop, process)
    wait_until_said(process, STARTED, log)
    return Cluster(f"http://{HOST}:{port}", ray_address(log.read_text(encoding="utf-8")))


def ray_address(said: str) -> str:
    """From what `embedctl serve` prints. Raises SetupError."""
    match = _RAY_ADDRESS.search(said)
    if match is None:
        raise SetupError("`embedctl serve` has not said Ray's address; start it yourself and give --address.")
    return match[1]


def _cuttable(folder: Path) -> Path:
    """The model, declared to be a Matryoshka model: the cluster would rightly refuse to cut its vectors."""
    original = locate(OFFLINE_MODEL.path, weights=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in original.iterdir():
        if entry.name != "config.json":
            (folder / entry.name).symlink_to(entry)
    config = json.loads((original / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "is_matryoshka": True}), encoding="utf-8")
    return folder


def embedctl(log: Path, *arguments: str) -> None:
    """Run one command to its end. Raises SetupError with the end of what it said if it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cluster.cli", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`embedctl {arguments[0]}` took more than {COMMAND_TIMEOUT_S:.0f} s.") from error
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode not in (0, SOME_LEFT_OUT):
        raise SetupError(f"`embedctl {arguments[0]}` failed (all it said is in {log}):\n{done.stdout[-600:]}")
