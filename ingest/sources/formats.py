"""Which files are documents, told by their names."""

from __future__ import annotations

from pathlib import PurePosixPath

from ingest.metadata import SIDECAR_SUFFIXES  # the first one that is there is read

_FORMATS = {
    ".txt": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".xlsx": "xlsx",
    ".pptx": "pptx",
    ".csv": "csv",
    ".tsv": "tsv",
    ".eml": "eml",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    # recognised so that the parser can say what to convert them to
    ".doc": "doc",
    ".xls": "xls",
    ".ppt": "ppt",
    ".rtf": "rtf",
}
_MEDIA_TYPES = {
    "text/plain": "txt",
    "text/markdown": "md",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "message/rfc822": "eml",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/rtf": "rtf",
}


def format_of(name: str) -> str | None:
    """None for a name that is no document's."""
    return _FORMATS.get(PurePosixPath(name).suffix.lower())


def format_of_media_type(content_type: str) -> str | None:
    """From an HTTP header, parameters and all: `text/html; charset=gbk`."""
    return _MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())


def is_hidden(name: str) -> bool:
    """`name` is one part of a path. An office program leaves the lock `~$report.docx` beside an open file."""
    return name.startswith((".", "~$"))


def document_of(name: str) -> str | None:
    """The name of the document that a sidecar of this name belongs to; None if it is no sidecar's name."""
    return next((name[: -len(suffix)] for suffix in SIDECAR_SUFFIXES if name.endswith(suffix)), None)


def sidecar_problem(name: str, beside: frozenset[str]) -> str | None:
    """Why a sidecar of this name is not read; None if it is. `beside` names the files in its folder."""
    document = document_of(name)
    if document not in beside or format_of(document or "") is None:
        return "a sidecar without its document"
    first = next(document + suffix for suffix in SIDECAR_SUFFIXES if document + suffix in beside)
    return None if name == first else f"{first} is read instead"
