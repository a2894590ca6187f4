"""A file's bytes, and a word that changes with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ingest.settings import MIB, SourceSettings
from ingest.sources.allowed import is_url, require_allowed
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

MAX_SIDECAR_BYTES = MIB
_THREADS = 8  # reading waits for disks and servers; hashing gives the interpreter's lock free
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not hold the job up


def read_bytes(file: SourceFile, settings: SourceSettings, max_bytes: int) -> bytes:
    """The whole file. Raises DocumentError: missing, unreadable, refused, empty or too_large."""
    if file.size is not None and file.size > max_bytes:
        raise _too_large(file.source_file, max_bytes)
    content = _read(file.path, file.source_file, settings, max_bytes)
    if not content or content.isspace():
        raise DocumentError(f"{file.source_file} is empty.", reason="empty")
    return content


def read_sidecar(file: SourceFile, settings: SourceSettings) -> bytes:
    """What stands in the file's sidecar; empty if it has none. Raises DocumentError like `read_bytes`."""
    if file.sidecar is None:
        return b""
    return _read(file.sidecar, f"The sidecar of {file.source_file}", settings, MAX_SIDECAR_BYTES)


def version_of(file: SourceFile, settings: SourceSettings) -> str:
    """A word that changes whenever the file or its sidecar does; of the whole file, also where it has a span.

    `sha256:HEX` of a local file's bytes; of others `etag:…`, or `modified:…;BYTES`, or `sha256:HEX` where the server
    tells neither. A sidecar adds `;meta:HEX`. Raises DocumentError like `read_bytes`.
    """
    version = _remote_version(file, settings) or _sha256(file.path, file.source_file, settings)
    if file.sidecar is None:
        return version
    return f"{version};meta:{hashlib.sha256(read_sidecar(file, settings)).hexdigest()}"


def versions(
    files: Sequence[SourceFile], settings: SourceSettings, on_done: Callable[[SourceFile], None]
) -> dict[str, str | DocumentError]:
    """`version_of` every file, or why there is none, by URI. `on_done` is called in this thread after each file."""
    found: dict[str, str | DocumentError] = {}
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="versions") as threads:
        running = {threads.submit(version_of, file, settings): file for file in files}
        try:
            for future in as_completed(running):
                file = running[future]
                error = future.exception()
                if isinstance(error, DocumentError):
                    found[file.uri] = error
                else:
                    found[file.uri] = future.result()
                on_done(file)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def is_there(uri: str) -> bool:
    """Whether a local file is there, or may be: a disk that does not answer proves nothing. False for other schemes."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return False
    try:
        Path(url2pathname(parts.path)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def open_local(path: str, name: str, settings: SourceSettings) -> Iterator[FileIO]:
    """The very file that was discovered: its path must still be its real path, and lie in the allowed roots.

    Raises DocumentError, also while it is read: missing, unreadable or refused.
    """
    require_allowed(path, name, settings)
    try:
        with FileIO(os.open(path, _FLAGS)) as stream:
            _require_same(stream, path, name)
            yield stream
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentError(f"{name} is gone since the run started.", reason="missing") from error
    except OSError as error:
        if Path(path).is_symlink():
            raise _swapped(name) from error
        raise DocumentError(f"{name} cannot be read: {error.strerror}.", reason="unreadable") from error


def _require_same(stream: FileIO, path: str, name: str) -> None:
    """What was opened is what the path's every part leads to without a link, even if one is swapped in right now."""
    status = os.fstat(stream.fileno())
    if not S_ISREG(status.st_mode):
        raise DocumentError(f"{name} is not a regular file any more.", reason="unreadable")
    if os.path.realpath(path) != path or not os.path.samestat(status, Path(path).lstat()):
        raise _swapped(name)


def _swapped(name: str) -> DocumentError:
    return DocumentError(f"{name} was replaced by a link since the run started.", reason="refused")


def _read(path: str, name: str, settings: SourceSettings, max_bytes: int) -> bytes:
    content = bytearray()
    for chunk in _chunks(path, name, settings):
        content += chunk
        if len(content) > max_bytes:
            raise _too_large(name, max_bytes)
    return bytes(content)


def _sha256(path: str, name: str, settings: SourceSettings) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path, name, settings):
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _chunks(path: str, name: str, settings: SourceSettings) -> Iterator[bytes]:
    """The bytes of a file of any kind, about 1 MiB at a time."""
    if not is_url(path):
        with open_local(path, name, settings) as stream:
            yield from iter(lambda: stream.read(MIB), b"")
    elif path.startswith("http"):
        from ingest.sources.web import get

        with get(path, name, settings) as answer:
            yield from answer.chunks
    else:
        from ingest.sources.bucket import open_object

        with open_object(path, name, settings) as stored:
            yield from iter(lambda: stored.read(MIB), b"")


def _remote_version(file: SourceFile, settings: SourceSettings) -> str:
    """Empty where only the content tells."""
    if not is_url(file.path):
        return ""
    if not file.path.startswith("http"):
        from ingest.sources.bucket import look_up

        return _with_size(file.modified or look_up(file.path, file.source_file), str(file.size))
    from ingest.sources.web import get

    with get(file.path, file.source_file, settings) as answer:
        tag, when = (answer.headers.get(name, "") for name in ("etag", "last-modified"))
        length = answer.headers.get("content-length", "")
    return f"etag:{tag}" if tag else _with_size(f"modified:{when}" if when else "", length)


def _with_size(modified: str, size: str) -> str:
    return f"{modified};{size}" if modified.startswith("modified:") else modified


def _too_large(name: str, max_bytes: int) -> DocumentError:
    return DocumentError(
        f"{name} is larger than {max_bytes / MIB:g} MiB; split it, or raise parse.max_file_mib.", reason="too_large"
    )
