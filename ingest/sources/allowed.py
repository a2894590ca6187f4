"""Where sources may lie: the folders and URL prefixes of `allowed_roots`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from ingest.settings import SourceSettings
from serve_app.core.errors import DocumentError

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_url(source: str) -> bool:
    """Whether a source is named by a URL that is not a local file's."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.isalnum() and scheme.lower() != "file"


def local_path(source: str) -> Path:
    """A path, or a `file://` URL, as a path; `~` is the home directory."""
    if source.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(source).path))
    return Path(source).expanduser()


def real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises on a loop of links


def is_allowed(place: str, allowed_roots: Sequence[str]) -> bool:
    """Whether `place`, a URL or a real absolute path, lies in one of the roots; without roots everything does."""
    return not allowed_roots or any(_contains(root, place) for root in allowed_roots)


def require_allowed(place: str, name: str, settings: SourceSettings) -> None:
    """The same for a file that is about to be read: settings may be stricter than when it was found."""
    if not is_allowed(place, settings.allowed_roots):
        raise DocumentError(f"{name} lies outside sources.allowed_roots.", reason="refused")


def climbs(path: str) -> bool:
    """Whether a URL's path holds `..`, which a server may resolve to somewhere above the prefix that was checked."""
    return ".." in unquote(path).replace("\\", "/").split("/")


def _contains(root: str, place: str) -> bool:
    if is_url(root) and is_url(place):
        (outer, prefix), (inner, path) = _split(root), _split(place)
        return outer == inner and not climbs(path) and f"{path}/".startswith(f"{prefix.rstrip('/')}/")
    return not is_url(root) and not is_url(place) and Path(place).is_relative_to(real(local_path(root)))


def _split(url: str) -> tuple[str, str]:
    """The origin or bucket of a URL, normalised, and the path in it; what follows `?` belongs to a bucket's key."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme in _DEFAULT_PORTS:
        parts = urlsplit(url)
        return f"{scheme}://{parts.netloc.lower().removesuffix(_DEFAULT_PORTS[scheme])}", parts.path
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", f"/{key}"
