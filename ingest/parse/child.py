"""The process that parses for a `GuardedParser`, under limits that it sets on itself."""

from __future__ import annotations

import faulthandler
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from types import TracebackType

from ingest.records import Document
from ingest.settings import ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError, EmbedError, SetupError

Parse = Callable[[SourceFile, bytes, ParseSettings], Document]
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Refused:
    """An error on its way to the caller."""

    message: str
    reason: str | None  # None: not the file's fault, a SetupError
    is_exhausted: bool = False  # the process is out of memory and had better be replaced

    def error(self) -> EmbedError:
        return SetupError(self.message) if self.reason is None else DocumentError(self.message, self.reason)


Reply = Document | Refused


def main(descriptor: str, memory_mib: str, function: str) -> None:
    """Answer files until the caller is gone. `function` is `module:name`."""
    sys.excepthook = _tell_without_message
    faulthandler.enable()
    warnings.simplefilter("ignore")  # they may quote the text
    limit = int(memory_mib) * _MIB
    # Private writable memory, and not the whole address space: threads and libraries reserve much that they never use.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the text
    module, name = function.split(":")
    parse: Parse = getattr(import_module(module), name)
    pipe = Connection(int(descriptor))
    pipe.send_bytes(b"ready")
    try:
        while True:
            _answer(pipe, parse)
    except (EOFError, ConnectionError):
        return


def _answer(pipe: Connection, parse: Parse) -> None:
    file, settings = pipe.recv()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # The process kills itself, so that a file that never ends stops even when the caller has died.
    signal.setitimer(signal.ITIMER_REAL, settings.timeout_s)
    has_answered = False
    with suppress(MemoryError):
        pipe.send(_parsed(parse, file, pipe, settings))
        has_answered = True
    if not has_answered:  # only here is the memory free again that the traceback held
        pipe.send(_exhausted(file, settings))
    signal.setitimer(signal.ITIMER_REAL, 0)


def _parsed(parse: Parse, file: SourceFile, pipe: Connection, settings: ParseSettings) -> Reply:
    try:
        return parse(file, pipe.recv_bytes(), settings)
    except DocumentError as error:
        return Refused(error.message, error.reason)
    except SetupError as error:
        return Refused(error.message, None)


def _exhausted(file: SourceFile, settings: ParseSettings) -> Refused:
    return Refused(
        f"Parsing {file.source_file} needs more than {settings.memory_mib} MiB; divide it, or raise parse.memory_mib.",
        "too_large",
        is_exhausted=True,
    )


def _tell_without_message(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
    """Where it happened and what kind of error it was; its message may quote the text."""
    sys.stderr.write("".join(traceback.format_tb(trace)) + f"{kind.__name__}\n")
