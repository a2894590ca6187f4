"""Whether a text that only documents hold has got to a place that must not hold any: a log, a ledger, a message."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.clusters import RunningCluster


def files_with(text: str, places: Iterable[Path]) -> list[Path]:
    """The files, of those named and of all in the folders named, that hold the text."""
    wanted = text.encode()
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return [file for file in files if file.is_file() and wanted in file.read_bytes()]


def ray_logs(cluster: RunningCluster) -> Path:
    """The folder in which every process of the cluster, workers of its jobs included, writes its log."""
    options = [
        option
        for process in psutil.Process(cluster.process.pid).children(recursive=True)
        for option in process.cmdline()
        if option.startswith("--log_dir=") or option.startswith("--log-dir=")
    ]
    return Path(options[0].partition("=")[2])


def ledger_files(sink: str) -> list[Path]:
    """Of the ledger that lies beside a Milvus Lite folder, SQLite's own files included."""
    folder = Path(sink.removeprefix("milvus-lite:"))
    return sorted(folder.parent.glob(f"{folder.name}.ledger.sqlite*"))
