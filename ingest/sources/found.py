"""What one look at the sources gathers: every file once, under the name that says most."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.sources.base import Discovery, Skipped, SourceFile
from serve_app.core.errors import SetupError


@dataclass(slots=True)
class Found:
    """Files by identity, so that one reached in two ways is ingested once."""

    files: dict[str, SourceFile] = field(default_factory=dict)
    skipped: set[Skipped] = field(default_factory=set)
    roots: set[str] = field(default_factory=set)

    def skip(self, name: str, reason: str) -> None:
        self.skipped.add(Skipped(name.encode("utf-8", "backslashreplace").decode("utf-8"), reason))

    def keep(self, file: SourceFile) -> None:
        known = self.files.get(file.uri)
        if known is None or _telling(file) > _telling(known):
            self.files[file.uri] = file

    def sorted(self) -> Discovery:
        """Raises SetupError for two files that would have the same name."""
        files = sorted(self.files.values(), key=lambda file: (file.source_file, file.path))
        for file, following in pairwise(files):
            _refuse_equal_names(file, following)
        return Discovery(tuple(files), tuple(sorted(self.skipped)), tuple(sorted(self.roots)))


def _telling(file: SourceFile) -> tuple[bool, int, str, str]:
    """A file's own name goes before a link's, and the longer way to it before the shorter."""
    name = file.source_file
    return file.path.endswith(f"/{name}"), name.count("/"), name, file.root


def _refuse_equal_names(file: SourceFile, other: SourceFile) -> None:
    if file.source_file != other.source_file:
        return
    if os.path.isabs(file.path) and os.path.isabs(other.path):  # noqa: PTH117  (a URL is no path)
        instead = f"give the folder {os.path.commonpath([file.path, other.path])!r} instead"
    else:
        instead = "give the folder or prefix above them, or ingest them into two collections"
    raise SetupError(
        f"{file.path!r} and {other.path!r} would both be called {file.source_file!r}; "
        f"{instead}, so that their names differ."
    )
