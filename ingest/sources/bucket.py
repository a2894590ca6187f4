"""Object stores (s3://, gs://) through fsspec; credentials and endpoints are the store's own client's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from importlib import import_module
from itertools import takewhile
from pathlib import PurePosixPath
from typing import IO, Any, cast

from ingest.metadata import SIDECAR_SUFFIXES
from ingest.settings import MIB, SourceSettings
from ingest.sources.allowed import climbs, is_allowed, require_allowed
from ingest.sources.base import SourceFile
from ingest.sources.formats import document_of, format_of, is_hidden, sidecar_problem
from ingest.sources.found import Found
from serve_app.core.errors import DocumentError, SetupError

EXTRAS = {"s3": "s3", "gs": "gcs"}  # by scheme
_CACHE = {  # blocks, because columns of Parquet are read by turns
    "block_size": 4 * MIB,
    "cache_type": "blockcache",
    "cache_options": {"maxblocks": 16},
}
_ERROR_HOMES = {  # what the clients raise beside OSError: module, class
    "s3": (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError")),
    "gs": (
        ("gcsfs.retry", "HttpError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("google.api_core.exceptions", "GoogleAPIError"),
        ("aiohttp", "ClientError"),
    ),
}
_TAGS = ("ETag", "etag", "md5Hash")
_TIMES = ("LastModified", "updated", "mtime", "created")


Info = Mapping[str, Any]  # what a store tells about an object


@dataclass(frozen=True, slots=True)
class _Listing:
    """Objects by `bucket/key`; their names are relative to `folder`."""

    scheme: str
    objects: dict[str, Info]
    folder: str
    root: str


def add_objects(source: str, settings: SourceSettings, found: Found) -> None:
    """A prefix with everything below it, one object, or a glob.

    Raises SetupError for one that matches nothing, cannot be listed or lies outside the allowed roots.
    """
    scheme, _, place = source.partition("://")
    scheme, place = scheme.lower(), place.strip("/")
    if not place or climbs(place):
        raise SetupError(f"Source {source!r} must name a bucket, and no '..'; for example {scheme}://bucket/folder.")
    if not is_allowed(f"{scheme}://{_fixed(place)}", settings.allowed_roots):
        raise SetupError(f"Source {source!r} lies outside the allowed roots; extend sources.allowed_roots.")
    listing = _listed(scheme, place)
    if not listing.objects:
        raise SetupError(f"Source {source!r} matches no object; check the bucket, the prefix and your rights.")
    found.roots.add(listing.root)
    for key in sorted(listing.objects):
        _add(key, listing, found)


def modified(info: Info) -> str:
    """A word that changes with the object: its ETag where the store tells one."""
    tag = next((info[name] for name in _TAGS if info.get(name)), None)
    if tag is not None:
        return f"etag:{str(tag).strip(chr(34))}"
    when = next((info[name] for name in _TIMES if info.get(name)), None)
    return "" if when is None else f"modified:{when}"


@contextmanager
def open_object(url: str, name: str, settings: SourceSettings) -> Iterator[IO[bytes]]:
    """A seekable stream that keeps at most 64 MiB. Raises DocumentError, also while it is read."""
    require_allowed(url, name, settings)
    scheme = url.partition("://")[0]
    store = _filesystem(scheme)
    with _told(scheme, name), store.open(url, "rb", **_CACHE) as stream:
        yield cast(IO[bytes], stream)


def look_up(url: str, name: str) -> str:
    """`modified` of an object as it is now. Raises DocumentError."""
    scheme = url.partition("://")[0]
    store = _filesystem(scheme)
    with _told(scheme, name):
        return modified(store.info(url))


def _filesystem(scheme: str) -> Any:
    fsspec = import_module("fsspec")
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        extra = EXTRAS[scheme]
        raise SetupError(f"{scheme}:// needs an extra: pip install 'embed-cluster[{extra}]'.") from error


def _listed(scheme: str, place: str) -> _Listing:
    url = f"{scheme}://{place}"
    store = _filesystem(scheme)
    try:
        if has_magic(place) and not store.exists(place):
            return _Listing(scheme, _files(store.glob(place, detail=True)), _fixed(place), url)
        objects = _files(store.find(place, detail=True))
    except FileNotFoundError:
        return _Listing(scheme, {}, place, url)
    except _errors(scheme) as error:
        raise SetupError(f"{url} cannot be listed: {_cause(error)}.") from error
    if place in objects:
        return _Listing(scheme, objects, place.rpartition("/")[0], url)
    return _Listing(scheme, objects, place, f"{url}/")


def _fixed(place: str) -> str:
    """The part of a glob that stands before its first wildcard."""
    return "/".join(takewhile(lambda part: not has_magic(part), place.split("/")))


def _files(entries: Mapping[str, Info]) -> dict[str, Info]:
    return {key: info for key, info in entries.items() if info["type"] == "file" and not key.endswith("/")}


def _add(key: str, listing: _Listing, found: Found) -> None:
    name = key.removeprefix(f"{listing.folder}/")
    objects = listing.objects
    document_format = format_of(key)
    if any(is_hidden(part) for part in PurePosixPath(name).parts):
        return
    if document_of(key) is not None:
        problem = sidecar_problem(key, frozenset(objects))
        if problem is not None:
            found.skip(name, problem)
    elif document_format is None:
        found.skip(name, "not a document format")
    else:
        url = f"{listing.scheme}://{key}"
        info = objects[key]
        found.keep(
            SourceFile(
                uri=url,
                path=url,
                source_file=name,
                format=document_format,
                size=info["size"],
                root=listing.root,
                modified=modified(info),
                sidecar=next((url + suffix for suffix in SIDECAR_SUFFIXES if key + suffix in objects), None),
            )
        )


@contextmanager
def _told(scheme: str, name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DocumentError(f"{name} is gone since the run started.", reason="missing") from error
    except _errors(scheme) as error:
        raise DocumentError(f"{name} cannot be read: {_cause(error)}.", reason="unreadable") from error


def _errors(scheme: str) -> tuple[type[Exception], ...]:
    return (OSError, *(getattr(import_module(module), name) for module, name in _ERROR_HOMES[scheme]))


def _cause(error: Exception) -> str:
    """Without the client's own message, which may hold signed addresses."""
    return getattr(error, "strerror", None) or type(error).__name__
