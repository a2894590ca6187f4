"""Parsing with a limit on time and memory: what goes wrong in a file must not take the job with it.

Files are parsed in a child process that lives for many of them. It is a fresh interpreter, neither forked (the caller
has threads) nor started through `multiprocessing` (which would run the caller's main module again).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ingest.parse.child import Refused, Reply
from ingest.records import Document
from ingest.settings import ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError, SetupError

# What libraries must know before they are imported. No telemetry, no downloads; and one thread, because Ray counts a
# parsing actor as less than one CPU.
CHILD_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "true",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
PARSE = "ingest.parse.registry:parse"
_START_TIMEOUT_S = 60.0
_GRACE_S = 10.0  # the child ends itself at the limit; if it cannot, it is killed this much later
_GOODBYE_S = 1.0
_CODE = "import sys; sys.path[:] = sys.argv[4:]; from ingest.parse.child import main; main(*sys.argv[1:4])"


class GuardedParser:
    """`ingest.parse.registry.parse` in a child process, which starts with the first file and restarts after a death.

    Not for several threads at once.
    """

    def __init__(self, settings: ParseSettings, function: str = PARSE) -> None:
        """`function` is `module:name` of what the child runs for each file, with the signature of `parse`."""
        self._settings = settings
        self._function = function
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def parse(self, file: SourceFile, content: bytes) -> Document:
        """Raises DocumentError with one of `ingest.parse.reasons`, and SetupError if the child cannot start."""
        pipe = self._pipe or self._start()
        try:
            pipe.send((file, self._settings))
            pipe.send_bytes(content)
            reply = self._reply(pipe)
        except TimeoutError as error:
            self.close()
            raise _too_slow(file, self._settings) from error
        except (EOFError, ConnectionError) as error:
            raise _verdict(file, self.close(), self._settings) from error
        if isinstance(reply, Refused):
            if reply.is_exhausted:
                self.close()
            raise reply.error()
        return reply

    def close(self) -> int:
        """End the child; the next file starts another one. Returns how it ended, as `Popen.returncode`; 0 for none."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GOODBYE_S)  # it ends when its pipe does, unless it has died already
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started, OCR for instance
        return process.wait()

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        variables = [f"{name}={value}" for name, value in CHILD_ENVIRONMENT.items()]
        arguments = [str(theirs.fileno()), str(self._settings.memory_mib), self._function]
        # `env` adds to the environment without anything here reading it.
        self._process = subprocess.Popen(  # noqa: S603
            ["/usr/bin/env", *variables, sys.executable, "-c", _CODE, *arguments, *sys.path],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._pipe = ours
        try:
            is_ready = ours.poll(_START_TIMEOUT_S) and ours.recv_bytes() == b"ready"
        except (EOFError, ConnectionError):
            is_ready = False
        if not is_ready:
            self.close()
            raise SetupError(
                f"The parser's process does not start with {self._settings.memory_mib} MiB; raise parse.memory_mib, "
                "and see its own message above."
            )
        return ours

    def _reply(self, pipe: Connection) -> Reply:
        """EOFError if the child dies first, TimeoutError if it neither answers nor dies."""
        if not pipe.poll(self._settings.timeout_s + _GRACE_S):
            raise TimeoutError
        reply: Reply = pipe.recv()
        return reply


def _verdict(file: SourceFile, status: int, settings: ParseSettings) -> DocumentError:
    if status == -signal.SIGALRM:
        return _too_slow(file, settings)
    if status == -signal.SIGKILL:  # not by us: the kernel kills what takes the machine's last memory
        return DocumentError(
            f"The machine ran out of memory while parsing {file.source_file}; divide the file.", reason="too_large"
        )
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
    return DocumentError(f"The parser died on {file.source_file} ({how}); convert the file.", reason="crashed")


def _too_slow(file: SourceFile, settings: ParseSettings) -> DocumentError:
    limit = f"{settings.timeout_s:g} s"
    return DocumentError(
        f"Parsing {file.source_file} took longer than {limit}; divide it, or raise parse.timeout_s.", reason="timeout"
    )
