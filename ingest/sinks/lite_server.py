"""Milvus Lite as a process of its own: its data folder belongs to one process, and an ingest job has many."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from ingest.sinks import lite_process
from ingest.sinks.lite_process import LOG, STATE, USERS, open_for_lock, try_lock
from serve_app.core.errors import SetupError

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05


class LiteServer:
    """The server of one data folder for as long as the context lasts; `uri` is where it listens, on loopback only.

    Processes that use the same folder share one server: the first starts it, the others attach, and it ends by
    itself after the last has left or died. Raises SetupError if it cannot be started.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.expanduser().absolute()
        self._users = -1  # file descriptor; while its shared lock is held the server stays
        self._child: int | None = None
        self._port = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> LiteServer:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise SetupError(
                f"Milvus Lite needs {self._data_dir} to be a folder that it can write to ({error.strerror}); "
                "a .db file of Milvus Lite 2 cannot be read."
            ) from error
        with ExitStack() as undo:
            undo.callback(os.close, self._users)
            self._port = self._attach()
            undo.pop_all()  # attached: from here on `__exit__` closes it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_last = try_lock(self._users, fcntl.LOCK_EX)
        fcntl.flock(self._users, fcntl.LOCK_UN)  # not only close: a forked child may share the descriptor
        os.close(self._users)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while is_last and self._is_served() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if self._child is not None and not self._is_served():
            _wait(self._child, 0)  # it is gone; a server that others still use is left to them

    def begin(self) -> None:
        """Start the server unless there is one, and do not wait for it. Raises OSError without a folder for it."""
        self._open()
        if try_lock(self._users, fcntl.LOCK_SH) and not self._is_served():
            self._child = self._spawn()

    def _open(self) -> None:
        self._users = open_for_lock(self._data_dir / USERS)

    def _attach(self) -> int:
        """The port of the live server, which is started if there is none."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            # This lock comes first: a closing server holds it exclusively, so from here on none can close.
            if try_lock(self._users, fcntl.LOCK_SH):
                if self._is_served():
                    port = self._published_port()
                    if _answers(port):
                        return port
                elif self._child is None or self._has_lost_the_race(self._child):
                    self._child = self._spawn()
            time.sleep(POLL_S)
        raise SetupError(
            f"The Milvus Lite server of {self._data_dir} was not ready in {START_TIMEOUT_S:.0f} s. See {LOG} there; "
            f"if a server hangs, end the process that {STATE} names, and try again."
        )

    def _is_served(self) -> bool:
        state = open_for_lock(self._data_dir / STATE)
        is_free = try_lock(state, fcntl.LOCK_SH)
        os.close(state)
        return not is_free

    def _published_port(self) -> int:
        """0 while the server is still starting."""
        text = (self._data_dir / STATE).read_text(encoding="utf-8")
        return int(json.loads(text)["port"]) if text.endswith("}") else 0

    def _spawn(self) -> int:
        """Start the server in its own session, so that Ctrl-C ends the job and not the store it still writes to."""
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", lite_process.__file__, str(self._data_dir)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._data_dir / LOG), log, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def _has_lost_the_race(self, child: int) -> bool:
        """Whether the child ended because another process started a server first; SetupError if it failed."""
        pid, status = _wait(child, os.WNOHANG)
        if pid == 0:
            return False
        self._child = None
        if status != 0:
            lines = (self._data_dir / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), "it wrote no reason")
            raise SetupError(
                f"Milvus Lite cannot serve {self._data_dir}: {reason.strip()}. If another program uses the folder, "
                f"close it; {LOG} there has the details."
            )
        return True


@contextmanager
def begun_early(data_dir: Path) -> Iterator[None]:
    """The server of a folder that has been used before starts now, and is there when somebody opens it in the block.

    Nothing is raised and nothing made: what is wrong with the folder is told to those who open it.
    """
    server = LiteServer(data_dir)
    try:
        server.begin()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        server.__exit__(None, None, None)


def _wait(child: int, options: int) -> tuple[int, int]:
    """os.waitpid, for a process in which other code may reap every child."""
    try:
        return os.waitpid(child, options)
    except ChildProcessError:
        return child, 0


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
