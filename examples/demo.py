"""The whole product in one go: start the cluster, ingest a folder, ask four questions, stop. `make demo` runs it.

It only does what a user would do: it calls `embedctl`.
"""

from __future__ import annotations

import argparse
import os
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
console = Console()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="checkpoint directory or hub name; default: the offline model")
    model = parser.parse_args().model
    console.rule("[bold]1  start the cluster")
    with tempfile.TemporaryDirectory(prefix="embed-demo-") as folder, _cluster(model):
        sink = ("--sink", f"milvus-lite:{folder}/milvus")
        console.rule("[bold]2  ingest a folder: txt, md, html, pdf, docx, xlsx")
        _embedctl("ingest", str(KNOWLEDGE_BASE), *sink)
        console.rule("[bold]3  ask")
        for question, options in QUESTIONS:
            _embedctl("search", question, *sink, "--endpoint", f"http://127.0.0.1:{PORT}", "--limit", "2", *options)
        console.rule("[bold]4  stop")
    console.print("[green]Done.[/green] `make serve` keeps a cluster up; README.md says what to try next.")
    return 0


@contextmanager
def _cluster(model: str) -> Iterator[None]:
    command = [sys.executable, "-m", "cluster.cli", "serve", "--port", str(PORT)]
    command += ["--model", model] if model else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if not _relay(process, until="Ready"):
                sys.exit(process.wait() or 1)
            rest = threading.Thread(target=_relay, args=(process, None))
            rest.start()
            yield
        finally:
            process.send_signal(signal.SIGINT)
        rest.join()


def _relay(process: subprocess.Popen[str], until: str | None) -> bool:
    """Show what the cluster says; True once a line begins with `until`."""
    for line in process.stdout or ():
        console.print(line.rstrip(), highlight=False, markup=False)
        if until is not None and line.startswith(until):
            return True
    return False


def _embedctl(*arguments: str) -> None:
    environment = os.environ | {"FORCE_COLOR": "1"} if console.is_terminal else None
    finished = subprocess.run([sys.executable, "-m", "cluster.cli", *arguments], check=False, env=environment)
    if finished.returncode != 0:
        sys.exit(finished.returncode)


if __name__ == "__main__":
    sys.exit(main())
