"""A file to ingest and everything found in one look: the types every kind of source shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, wherever it lies. All fields are plain values, so that a file can travel as a row of a table.

    `span` limits a ready-made corpus to a part of it: bytes [start, stop) of JSONL, row groups [start, stop) of
    Parquet; `first_row` is then the number of its first row. Rows count from 1.
    """

    uri: str  # the file's identity, whichever way it was found: file:///real/path, s3://bucket/key, https://…
    path: str  # what opens it: a real absolute path, or the URL
    source_file: str  # for people: relative to the source it was found through, forward slashes
    format: str
    size: int | None = None  # bytes; None where only a download would tell
    root: str = ""  # the source it was found through, one of `Discovery.roots`
    modified: str = ""  # local: mtime in ns; remote: "etag:…" or "modified:…"; empty where nothing tells
    span: tuple[int, int] | None = None
    first_row: int = 1
    sidecar: str | None = None  # path of FILE.meta.yaml or FILE.meta.json beside it

    @property
    def source(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, order=True)
class Skipped:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """All three are sorted.

    A root says how far the look reached: `file:///folder/` or `s3://bucket/prefix/` (ending in a slash) covers
    every identity that starts with it; a single file's own URI covers itself; a glob and `list:/path` cover nothing,
    but the files found through them keep them as `root`.
    """

    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    roots: tuple[str, ...] = ()

    def covers(self, uri: str) -> bool:
        """Whether a document of this identity would have been found if it was still there (for pruning)."""
        return any(uri == root or (root.endswith("/") and uri.startswith(root)) for root in self.roots)
