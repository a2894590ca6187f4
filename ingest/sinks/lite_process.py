"""The program a Milvus Lite server runs in: `python lite_process.py DATA_DIR`.

It serves the folder until nobody holds the lock on `server.users` any more, then closes it. A process that ends,
however hard, loses its locks, so no server outlives its users and none needs to be killed. The lock on `server.json`
says that the server lives; the file says where it listens. This file imports nothing of the product: it runs alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path

STATE, USERS, LOG = "server.json", "server.users", "server.log"
# Lite scans unflushed rows one by one: its 128 MiB default makes a search ten times slower while an ingest runs.
WRITE_BUFFER = ("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(8 * 2**20))
STARTING = b"{"  # in the state file, until there is a port
INDEX_FILES = (".idx", ".sidx")
POLL_S = 0.05
STATE_LOCK_TRIES = 20  # a process that looks whether the server lives holds the lock for an instant


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock (fcntl.LOCK_SH or LOCK_EX) if that needs no waiting; one that is held already is changed."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_for_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def remove_index_files(data_dir: Path) -> None:
    """Lite writes them in place, so a server that was killed may leave half of one, which no later one can load.

    What they hold is made again from the data files, whose own writes are atomic.
    """
    for path in data_dir.glob("collections/*/partitions/*/indexes/*"):
        if path.suffix in INDEX_FILES:
            path.unlink()


def main(data_dir: Path) -> None:
    state = open_for_lock(data_dir / STATE)
    if not _lock_state(state):
        return  # another process has just started a server for this folder
    if os.fstat(state).st_size:  # the last server has not closed the folder
        remove_index_files(data_dir)
    os.ftruncate(state, 0)
    os.pwrite(state, STARTING, 0)
    os.ftruncate(sys.stdout.fileno(), 0)  # the log is of one run
    os.environ.setdefault(*WRITE_BUFFER)
    from milvus_lite.adapter.grpc.server import start_server_in_thread  # reads the environment; a second to import

    # One worker: Lite's collections want one writer, and a read in the middle of a flush would miss rows.
    server, database, port = start_server_in_thread(str(data_dir), host="127.0.0.1", port=0, max_workers=1)
    os.pwrite(state, json.dumps({"pid": os.getpid(), "port": port}).encode(), 0)
    users = open_for_lock(data_dir / USERS)
    while not try_lock(users, fcntl.LOCK_EX):
        time.sleep(POLL_S)
    server.stop(grace=None).wait()
    database.close()
    os.ftruncate(state, 0)
    # Tidying up the interpreter takes longer than all of this, and until the end of the process nobody has the folder.
    os._exit(0)


def _lock_state(state: int) -> bool:
    for _ in range(STATE_LOCK_TRIES):
        if try_lock(state, fcntl.LOCK_EX):
            return True
        time.sleep(POLL_S)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
