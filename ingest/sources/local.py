"""Files, folders and globs on this machine's file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

from ingest.metadata import SIDECAR_SUFFIXES
from ingest.settings import SourceSettings
from ingest.sources.allowed import is_allowed, local_path, real
from ingest.sources.base import SourceFile
from ingest.sources.formats import document_of, format_of, is_hidden, sidecar_problem
from ingest.sources.found import Found
from ingest.sources.read import is_there
from serve_app.core.errors import SetupError

_LEADS_OUT = "a link that leads out of the folder"


@dataclass(frozen=True, slots=True)
class _Reached:
    """The candidates of one source; names are relative to `folder`, which they must lie in."""

    paths: Iterator[Path]
    folder: Path
    root: str


def add_local(source: str, settings: SourceSettings, found: Found) -> None:
    """Raises SetupError for a source that is not there, cannot be listed or lies outside the allowed roots."""
    try:
        reached = _reach(source, settings)
        found.roots.add(reached.root)
        for path in reached.paths:
            _add(path, reached, found)
    except PermissionError as error:
        _refuse_unreadable(error)


def may_be_there(root: str) -> bool:
    """Whether there may be files behind a `file://` root of a `Discovery`. Of a glob, only a look can tell."""
    return is_there(root) or has_magic(str(local_path(root)))


def _reach(source: str, settings: SourceSettings) -> _Reached:
    path = local_path(source)
    if path.is_dir():
        folder = real(path)
        _require_allowed(source, folder, settings)
        return _Reached(_walk(folder), folder, folder.as_uri().rstrip("/") + "/")
    if path.exists():
        file = real(path)
        _require_allowed(source, file, settings)
        return _Reached(iter([file]), file.parent, file.as_uri())
    if has_magic(str(path)):
        return _matches(source, path, settings)
    raise SetupError(f"Source {source!r} does not exist; give a file, a folder or a glob.")


def _walk(root: Path) -> Iterator[Path]:
    # Folders behind links are not entered: inside the root they are found under their own name.
    for folder, subfolders, names in os.walk(root, onerror=_refuse_unreadable):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        for name in names:
            if not is_hidden(name):
                yield Path(folder, name)
        for name in subfolders:
            link = Path(folder, name)
            if link.is_symlink() and not real(link).is_relative_to(root):
                yield link


def _matches(source: str, pattern: Path, settings: SourceSettings) -> _Reached:
    fixed = []
    for part in pattern.parts[:-1]:
        if has_magic(part):
            break
        fixed.append(part)
    base = Path(*fixed).absolute()
    folder = real(base)
    _require_allowed(source, folder, settings)
    found = glob(str(pattern), recursive=True)  # noqa: PTH207  (Path.glob does not leave hidden files out)
    matches = [Path(match).absolute() for match in found]
    files = [match for match in matches if not match.is_dir() and not is_hidden(match.name)]
    if not files:
        raise SetupError(f"Source {source!r} matches no file; check the pattern, or give a folder.")
    rest = quote("/".join(pattern.parts[len(fixed) :]))
    paths = (folder / file.relative_to(base) for file in files)
    return _Reached(paths, folder, f"{folder.as_uri().rstrip('/')}/{rest}")


def _require_allowed(source: str, place: Path, settings: SourceSettings) -> None:
    if not is_allowed(str(place), settings.allowed_roots):
        raise SetupError(
            f"Source {source!r} lies outside the allowed roots; give one inside them, or extend sources.allowed_roots."
        )


def _add(path: Path, reached: _Reached, found: Found) -> None:
    name = path.relative_to(reached.folder).as_posix()
    target = real(path)
    status = _status(target)
    document_format = format_of(path.name)
    if not target.is_relative_to(reached.folder):
        found.skip(name, _LEADS_OUT)
    elif document_of(path.name) is not None:
        _add_sidecar(path, name, found)
    elif document_format is None:
        found.skip(name, "not a document format")
    elif status is None:
        found.skip(name, "not a file that can be reached")
    elif not (_is_utf8(name) and _is_utf8(str(target))):
        found.skip(name, "its path is not UTF-8; rename it")
    else:
        found.keep(
            SourceFile(
                uri=target.as_uri(),
                path=str(target),
                source_file=name,
                format=document_format,
                size=status.st_size,
                root=reached.root,
                modified=str(status.st_mtime_ns),
                sidecar=_sidecar_of(target, reached.folder),
            )
        )


def _add_sidecar(path: Path, name: str, found: Found) -> None:
    document = document_of(path.name) or ""
    beside = {document, *(document + suffix for suffix in SIDECAR_SUFFIXES)}
    problem = sidecar_problem(path.name, frozenset(other for other in beside if (path.parent / other).exists()))
    if problem is not None:
        found.skip(name, problem)


def _sidecar_of(document: Path, folder: Path) -> str | None:
    paths = [document.with_name(document.name + suffix) for suffix in SIDECAR_SUFFIXES]
    first = next((real(path) for path in paths if path.exists()), None)
    return None if first is None or not first.is_relative_to(folder) else str(first)


def _is_utf8(path: str) -> bool:
    """Paths travel through Arrow, which holds only UTF-8; Linux allows any bytes, here as lone surrogates."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _status(path: Path) -> os.stat_result | None:
    """None for anything that is not a regular file that can be reached."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status if S_ISREG(status.st_mode) else None


def _refuse_unreadable(error: OSError) -> None:
    raise SetupError(
        f"{error.filename!r} cannot be read ({error.strerror}); allow it, or give the sources beside it."
    ) from error
