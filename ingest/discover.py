"""Sources as a person names them (files, folders, globs) → the files to ingest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG

from serve_app.core.errors import SetupError

FORMATS = {
    ".txt": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".xlsx": "xlsx",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`path` is absolute; `source_file` is relative to the source it was found through, with forward slashes."""

    path: str
    source_file: str
    format: str
    size: int  # bytes

    @property
    def source(self) -> str:
        """The file's identity, whichever way it was found: the URI of its real path."""
        return Path(self.path).as_uri()


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """Both are sorted."""

    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]


@dataclass(slots=True)
class _Found:
    """Files by real path, so that one reached in two ways is ingested once."""

    files: dict[Path, SourceFile] = field(default_factory=dict)
    skipped: set[Skipped] = field(default_factory=set)

    def add(self, path: Path, root: Path) -> None:
        name = path.relative_to(root).as_posix()
        real = _real(path)
        size = _size(real)
        document_format = FORMATS.get(path.suffix.lower())
        if not real.is_relative_to(root):
            self._skip(name, "a link that leads out of the folder")
        elif document_format is None:
            self._skip(name, "not a document format")
        elif size is None:
            self._skip(name, "not a file that can be reached")
        elif not (_is_utf8(name) and _is_utf8(str(real))):
            self._skip(name, "its path is not UTF-8; rename it")
        else:
            self._keep(name, real, document_format, size)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.add(Skipped(name.encode("utf-8", "backslashreplace").decode("utf-8"), reason))

    def _keep(self, name: str, real: Path, document_format: str, size: int) -> None:
        known = self.files.get(real)
        if known is None or _says_more(name, known.source_file, real):
            self.files[real] = SourceFile(str(real), name, document_format, size)


def discover(sources: Sequence[str]) -> Discovery:
    """Every file under `sources`, sorted by its name for people; hidden files are left out.

    A folder is read with everything below it; a glob gives files only, named from its first folder without a
    wildcard. Raises SetupError for a source that is not there, and for two files that would have the same name.
    """
    found = _Found()
    for source in sources:
        for path, root in _reached(source):
            found.add(path, root)
    files = sorted(found.files.values(), key=lambda file: (file.source_file, file.path))
    for file, following in pairwise(files):
        _refuse_equal_names(file, following)
    return Discovery(tuple(files), tuple(sorted(found.skipped)))


def _reached(source: str) -> Iterator[tuple[Path, Path]]:
    """Candidates of one source, each with the folder that its name is relative to."""
    path = Path(source).expanduser()
    if path.is_dir():
        root = _real(path)
        yield from ((found, root) for found in _walk(root))
    elif path.exists():
        real = _real(path)
        yield real, real.parent
    elif has_magic(source):
        yield from _matches(source, path)
    else:
        raise SetupError(f"Source {source!r} does not exist; give a file, a folder or a glob.")


def _walk(root: Path) -> Iterator[Path]:
    # Folders behind links are not entered: inside the root they are found under their own name.
    for folder, subfolders, names in os.walk(root, onerror=_refuse_unreadable):
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        for name in names:
            if not _is_hidden(name):
                yield Path(folder, name)
        for name in subfolders:
            link = Path(folder, name)
            if link.is_symlink() and not _real(link).is_relative_to(root):
                yield link


def _matches(source: str, pattern: Path) -> Iterator[tuple[Path, Path]]:
    fixed = []
    for part in pattern.parts[:-1]:
        if has_magic(part):
            break
        fixed.append(part)
    base = Path(*fixed).absolute()
    root = _real(base)
    found = glob(str(pattern), recursive=True)  # noqa: PTH207  (Path.glob does not leave hidden files out)
    matches = [Path(match).absolute() for match in found]
    files = [match for match in matches if not match.is_dir() and not _is_hidden(match.name)]
    if not files:
        raise SetupError(f"Source {source!r} matches no file; check the pattern, or give a folder.")
    for file in files:
        yield root / file.relative_to(base), root


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "~$"))  # "~$report.docx" is the lock an office program leaves beside an open file


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises on a loop of links


def _is_utf8(path: str) -> bool:
    """Paths travel through Arrow, which holds only UTF-8; Linux allows any bytes, here as lone surrogates."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _size(path: Path) -> int | None:
    """None for anything that is not a regular file that can be reached."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if S_ISREG(status.st_mode) else None


def _says_more(name: str, known: str, real: Path) -> bool:
    """A file's own name goes before a link's, and the longer way to it before the shorter."""
    return _telling(name, real) > _telling(known, real)


def _telling(name: str, real: Path) -> tuple[bool, int, str]:
    return real.as_posix().endswith(f"/{name}"), name.count("/"), name


def _refuse_unreadable(error: OSError) -> None:
    raise SetupError(
        f"Folder {error.filename!r} cannot be read ({error.strerror}); allow it, or give the folders beside it."
    ) from error


def _refuse_equal_names(file: SourceFile, other: SourceFile) -> None:
    if file.source_file == other.source_file:
        common = os.path.commonpath([file.path, other.path])
        raise SetupError(
            f"{file.path!r} and {other.path!r} would both be called {file.source_file!r}; "
            f"give the folder {common!r} instead, so that their names differ."
        )
