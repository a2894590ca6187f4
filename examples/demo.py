"""The whole product in one go: start the cluster, ingest a folder, ask four questions, stop. `make demo` runs it.

It only does what a user would do: it calls `embedctl`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

KNOWLEDGE_BASE = Path(__file__).parent / "knowledge_base"
PORT = 8750
QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How long is evidence kept after a security incident?", ()),
    ("What is the penalty for late delivery?", ("--filter", "source_file = 'contract.pdf'")),
    ("年假未休完可以结转多少天?", ("--hybrid",)),
    ("What is the hotel limit per night in Rotterdam?", ()),
)
RAY_ADDRESS = re.compile(r"Ray's address, .*: (\S+)")
console = Console()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="checkpoint directory or hub name; default: the offline model")
    model = parser.parse_args().model
    console.rule("[bold]1  start the cluster")
    with tempfile.TemporaryDirectory(prefix="embed-demo-") as folder, _cluster(model) as ray_address:
        sink = ("--sink", f"milvus-lite:{folder}/milvus")
        console.rule("[bold]2  ingest a folder: txt, md, html, pdf, docx, xlsx")
        _embedctl("ingest", str(KNOWLEDGE_BASE), *sink, "--address", ray_address)
        console.rule("[bold]3  ask")
        for question, options in QUESTIONS:
            _embedctl("search", question, *sink, "--endpoint", f"http://127.0.0.1:{PORT}", "--limit", "2", *options)
        console.rule("[bold]4  stop")
    console.print("[green]Done.[/green] `make serve` keeps a cluster up; README.md says what to try next.")
    return 0


@contextmanager
def _cluster(model: str) -> Iterator[str]:
    """A cluster of the demo's own; gives Ray's address, since other clusters may run on this machine."""
    command = [sys.executable, "-m", "cluster.cli", "serve", "--port", str(PORT)]
    command += ["--model", model] if model else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = _said_by(process)
        rest = threading.Thread(target=lambda: list(said))
        try:
            address = next((found[1] for line in said if (found := RAY_ADDRESS.search(line))), None)
            if address is None:
                sys.exit(process.wait() or 1)
            rest.start()
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            if rest.is_alive():
                rest.join()


def _said_by(process: subprocess.Popen[str]) -> Iterator[str]:
    """Show what the cluster says, and give it line by line."""
    for line in process.stdout or ():
        console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
        yield line


def _embedctl(*arguments: str) -> None:
    environment = os.environ | {"FORCE_COLOR": "1"} if console.is_terminal else None
    finished = subprocess.run([sys.executable, "-m", "cluster.cli", *arguments], check=False, env=environment)
    if finished.returncode != 0:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    sys.exit(main())
