"""Sources as a person names them (files, folders, globs, prefixes, addresses, lists) → the files to ingest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ingest.settings import SourceSettings
from ingest.sources.allowed import is_url, real
from ingest.sources.base import Discovery
from ingest.sources.found import Found
from ingest.sources.local import add_local
from serve_app.core.errors import SetupError

_LIST = "list:"  # a text file with one URL a line


def discover(sources: Sequence[str], settings: SourceSettings) -> Discovery:
    """Every file under `sources`, sorted by its name for people; hidden files are left out.

    A folder or a prefix is read with everything below it; a glob gives files only, named from its first folder
    without a wildcard; `list:PATH` stands for the URLs in that file. Raises SetupError for a source that is not
    there, cannot be read or lies outside the allowed roots, and for two files that would have the same name.
    """
    found = Found()
    for source in sources:
        if source.startswith(_LIST):
            _add_list(source.removeprefix(_LIST), settings, found)
        elif is_url(source):
            _add_url(source, settings, found)
        else:
            add_local(source, settings, found)
    return found.sorted()


def _add_url(source: str, settings: SourceSettings, found: Found, root: str | None = None) -> None:
    scheme = source.partition("://")[0].lower()
    if scheme in ("s3", "gs"):
        from ingest.sources.bucket import add_objects

        add_objects(source, settings, found)
    elif scheme in ("http", "https"):
        from ingest.sources.pages import add_page

        add_page(source, settings, found, root)
    else:
        raise SetupError(f"Sources of the kind {scheme}:// are not known; give a path, s3://, gs:// or http(s)://.")


def _add_list(path: str, settings: SourceSettings, found: Found) -> None:
    file = real(Path(path).expanduser())
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The list {path!r} cannot be read as UTF-8 text; check the path and the file.") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    urls = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not urls:
        raise SetupError(f"The list {path!r} holds no URL; write one a line.")
    for number, url in urls:
        if not is_url(url):
            raise SetupError(f"Line {number} of the list {path!r} is not a URL; a list holds one URL a line.")
        _add_url(url, settings, found, root=f"list:{file}")
