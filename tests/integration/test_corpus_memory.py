"""How much memory a process needs that reads a large corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

READ_ALL = """
import re, sys
from pathlib import Path
from ingest.settings import SourceSettings
from ingest.sources.corpus import read_documents, split
from ingest.sources.discover import discover
def peak():  # KiB; what getrusage tells would include the parent's peak
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
file, = discover([sys.argv[1]], SourceSettings()).files
before = peak()
whole = sum(1 for _ in read_documents(file, SourceSettings()))
parts = sum(1 for part in split(file) for _ in read_documents(part, SourceSettings()))
print(whole, parts, (peak() - before) // 1024)
"""


def growth_while_reading(path: Path) -> tuple[int, int, int]:
    """Rows, rows of all parts, and by how many MiB the most memory a fresh process ever held has grown."""
    run = subprocess.run([sys.executable, "-c", READ_ALL, str(path)], capture_output=True, text=True, check=True)
    whole, parts, grown = map(int, run.stdout.split())
    return whole, parts, grown


def test_200_mb_of_json_lines_are_read_in_little_memory(tmp_path: Path) -> None:
    block = b"".join(json.dumps({"text": f"{n} " + "word " * 400, "n": n}).encode() + b"\n" for n in range(500))
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        for _ in range(200):
            file.write(block)
    assert path.stat().st_size > 200_000_000
    whole, parts, grown = growth_while_reading(path)
    assert whole == parts == 100_000
    assert grown < 60


def test_one_large_row_group_of_parquet_is_read_in_little_memory(tmp_path: Path) -> None:
    rows = pa.table({"text": [f"{n} " + "word " * 400 for n in range(50_000)]})
    pq.write_table(rows, tmp_path / "large.parquet", row_group_size=50_000, compression="none", use_dictionary=False)
    whole, parts, grown = growth_while_reading(tmp_path / "large.parquet")
    assert whole == parts == 50_000
    assert grown < 60
