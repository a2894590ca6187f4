"""Single web addresses as sources."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote, urlsplit

from ingest.settings import SourceSettings
from ingest.sources.allowed import is_allowed
from ingest.sources.base import SourceFile
from ingest.sources.formats import format_of, format_of_media_type
from ingest.sources.found import Found
from ingest.sources.web import get, normalised
from serve_app.core.errors import DocumentError, SetupError


def add_page(source: str, settings: SourceSettings, found: Found, root: str | None = None) -> None:
    """`root` is the list the address stands in; None if it was given by itself.

    Raises SetupError for an address that is malformed or lies outside the allowed roots. One that does not answer is
    kept all the same: reading it will say why, and its documents must not look deleted.
    """
    try:
        url = normalised(source)
    except ValueError as error:
        raise SetupError(f"Source {_without_query(source)!r} cannot be used: {error}.") from error
    name = name_of(url)
    if not is_allowed(url, settings.allowed_roots):
        raise SetupError(f"Source {name!r} lies outside the allowed roots; extend sources.allowed_roots.")
    root = root or url
    found.roots.add(root)
    document_format = format_of(urlsplit(url).path) or _told_format(url, name, settings)
    if document_format is None:
        found.skip(name, "not a document format")
    else:
        found.keep(SourceFile(uri=url, path=url, source_file=name, format=document_format, root=root))


def name_of(url: str) -> str:
    """Host and path. A query may hold keys: eight characters of its hash stand for it."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    name = (parts.netloc + (path if path.isprintable() else parts.path)).rstrip("/")
    return f"{name}?{hashlib.sha256(parts.query.encode()).hexdigest()[:8]}" if parts.query else name


def _without_query(source: str) -> str:
    """What may stand in a message: no query and no password."""
    scheme, separator, rest = source.partition("://")
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]


def _told_format(url: str, name: str, settings: SourceSettings) -> str | None:
    """By the server's Content-Type: most addresses of pages end in no extension. A HEAD is often answered wrongly."""
    try:
        with get(url, name, settings) as answer:
            return format_of_media_type(answer.headers.get("content-type", "text/html"))
    except DocumentError:
        return "html"
