"""The life of a Milvus Lite server: one for a data folder, shared, on loopback, gone with its last user."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from ingest.records import Chunk
from ingest.sinks.base import CollectionSpec, Query, Row
from ingest.sinks.lite_server import LiteServer
from ingest.sinks.registry import begun_early, connect_sink, open_sink
from serve_app.core.errors import SetupError

ROOT = Path(__file__).parents[2]
SPEC = CollectionSpec("notes", 8, "test-model")
ROW = Row(
    Chunk("k1", "notes_0001", "file:///notes.md", "notes.md", "md", "Notes", ("Notes",), None, None, 0, 2, "违约金"),
    np.eye(8, dtype=np.float32)[0],
)
USER = """
import sys
from pathlib import Path
from ingest.sinks.lite_server import LiteServer

with LiteServer(Path(sys.argv[1])) as server:
    print(server.uri, flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which prints the URI of the folder's server and uses it until its standard input closes."""
    command = [sys.executable, "-c", USER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate(timeout=30)


def printed_uri(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def listens(uri: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", urlsplit(uri).port or 0)) == 0


def eventually(is_true: Callable[[], bool], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_true()


def addresses_of(port: int) -> list[str]:
    """Local addresses, in the kernel's notation, that listen on a TCP port."""
    lines = [
        line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    local = [columns[1].split(":") for columns in lines if columns[3] == "0A"]
    return [address for address, number in local if int(number, 16) == port]


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "向量 库"
    with open_sink(f"milvus-lite:{folder}") as (sink, _):
        sink.ensure(SPEC)
        sink.upsert("notes", [ROW])
    with open_sink(f"milvus-lite:{folder}") as (sink, _):
        assert sink.count("notes") == 1
        sink.ensure(SPEC)
        assert sink.existing("notes", ["k1"]) == {"k1": ""}


def test_the_server_listens_on_loopback_only_and_ends_with_the_context(tmp_path: Path) -> None:
    with LiteServer(tmp_path) as server:
        (address,) = addresses_of(urlsplit(server.uri).port or 0)
        assert address in ("0100007F", "0000000000000000FFFF00000100007F")  # 127.0.0.1, in IPv4 or mapped into IPv6
    assert not listens(server.uri)


def test_workers_reach_the_store_under_the_uri_that_open_sink_gives(tmp_path: Path) -> None:
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, uri):
        sink.ensure(SPEC)
        worker = connect_sink(uri)
        worker.upsert("notes", [ROW])
        worker.close()
        assert uri.startswith("http://127.0.0.1:")
        assert sink.count("notes") == 1


def test_the_server_of_a_used_folder_can_begin_before_anybody_opens_it(tmp_path: Path) -> None:
    store = f"milvus-lite:{tmp_path}"
    with LiteServer(tmp_path) as used:
        before = used.uri
    with begun_early(store):
        assert eventually(lambda: b'"port"' in (tmp_path / "server.json").read_bytes())
        early = json.loads((tmp_path / "server.json").read_text())["pid"]
        with open_sink(store) as (_, uri):
            assert json.loads((tmp_path / "server.json").read_text())["pid"] == early
            assert uri != before
    assert not listens(uri)


def test_nothing_begins_early_where_nothing_has_been_stored(tmp_path: Path) -> None:
    with begun_early(f"milvus-lite:{tmp_path / 'new'}"), begun_early("postgresql://nowhere/none"):
        assert not list(tmp_path.iterdir())


def test_a_second_process_shares_the_server_and_may_stay_longer_than_the_one_that_started_it(tmp_path: Path) -> None:
    with ExitStack() as first:
        uri = first.enter_context(LiteServer(tmp_path)).uri
        with other_process(tmp_path) as process:
            assert printed_uri(process) == uri
            first.close()
            time.sleep(0.5)  # longer than the server takes to notice
            assert listens(uri)
            sink = connect_sink(uri)
            sink.ensure(SPEC)
            sink.close()
    assert eventually(lambda: not listens(uri))


def test_no_server_outlives_a_user_that_was_killed(tmp_path: Path) -> None:
    with other_process(tmp_path) as process:
        uri = printed_uri(process)
        assert listens(uri)
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: not listens(uri))
    with LiteServer(tmp_path) as server:
        assert listens(server.uri)


def test_a_killed_server_is_replaced_and_loses_nothing(tmp_path: Path) -> None:
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, _):
        sink.ensure(SPEC)
        sink.upsert("notes", [ROW])
        os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, _):
        assert sink.count("notes") == 1


def test_half_an_index_file_of_a_killed_server_does_not_spoil_the_collection(tmp_path: Path) -> None:
    rows = [replace(ROW, chunk=replace(ROW.chunk, key=f"k{number}")) for number in range(64)]
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, _):
        sink.ensure(SPEC)
        sink.upsert("notes", rows)
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, _):  # closed once, so that the rows are in data files
        assert sink.search("notes", Query(ROW.vector))
        assert eventually(lambda: bool(list(tmp_path.rglob("*.idx"))))
        os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
    for index in tmp_path.rglob("*.idx"):
        os.truncate(index, index.stat().st_size // 2)
    with open_sink(f"milvus-lite:{tmp_path}") as (sink, _):
        assert sink.count("notes") == 64
        assert sink.search("notes", Query(ROW.vector))


def test_a_stale_state_file_is_not_believed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "port": port}))
        with LiteServer(tmp_path) as server:
            assert urlsplit(server.uri).port != port
            assert listens(server.uri)


def test_processes_that_start_together_share_one_server(tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(other_process(tmp_path)) for _ in range(3)]
        uris = {printed_uri(process) for process in processes}
        assert len(uris) == 1
        assert listens(uris.pop())


def test_a_folder_that_another_program_holds_is_a_clear_error(tmp_path: Path) -> None:
    with (tmp_path / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(SetupError, match=r"another process holds the lock.* close it; server\.log"),
            LiteServer(tmp_path),
        ):
            pass
    with LiteServer(tmp_path) as server:
        assert listens(server.uri)


def test_a_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "old.db").touch()
    with pytest.raises(SetupError, match=r"old\.db to be a folder"), LiteServer(tmp_path / "old.db"):
        pass


@pytest.mark.parametrize("uri", ["", "vectors", "http://host", "http://host:port", "ftp://a:1"])
def test_an_unsupported_sink_is_refused_with_the_supported_ones(uri: str) -> None:
    with pytest.raises(SetupError, match=r"milvus-lite:PATH .*http://HOST:PORT"), open_sink(uri):
        pass


def test_a_sink_without_a_folder_is_refused() -> None:
    with pytest.raises(SetupError, match="names no folder"), open_sink("milvus-lite:"):
        pass


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:1\b") as caught, open_sink("http://me:secret@127.0.0.1:1"):
        pass
    assert "secret" not in caught.value.message
