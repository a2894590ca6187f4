"""Object stores: S3 by its real protocol, against a server in this process; Google's by the same code in memory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from ingest.records import Document
from ingest.settings import MIB, SourceSettings
from ingest.sources import corpus, jsonl
from ingest.sources.base import Discovery, Skipped, SourceFile
from ingest.sources.corpus import read_documents, split
from ingest.sources.discover import discover
from ingest.sources.read import read_bytes, read_sidecar, version_of
from serve_app.core.errors import DocumentError, SetupError

SETTINGS = SourceSettings()
OBJECTS = {
    "docs/a.md": b"# A",
    "docs/hr/leave.PDF": b"%PDF",
    "docs/hr/photo.png": b"png",
    "docs/.git/b.md": b"hidden",
    "docs/a.md.meta.json": b'{"team": "hr"}',
    "docs/gone.md.meta.json": b"{}",
    "docs-old/c.md": b"old",
    "odd/report[1].md": b"brackets",
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    server = import_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    kind = fsspec.get_filesystem_class("s3")
    kind.clear_instance_cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield fsspec.filesystem("s3", use_listings_cache=False)
    kind.clear_instance_cache()
    server.stop()


@pytest.fixture
def store(client: Any) -> Iterator[Any]:
    """The bucket `library` with OBJECTS."""
    client.mkdir("library")
    for key, content in OBJECTS.items():
        client.pipe_file(f"library/{key}", content)
    yield client
    client.rm("library", recursive=True)


def look(*sources: str, allowed_roots: tuple[str, ...] = ()) -> Discovery:
    return discover(sources, SourceSettings(allowed_roots=allowed_roots))


def names(*sources: str) -> list[str]:
    return [file.source_file for file in look(*sources).files]


def reason_of(file: SourceFile, settings: SourceSettings = SETTINGS) -> str:
    with pytest.raises(DocumentError) as error:
        read_bytes(file, settings, MIB)
    assert file.source_file in error.value.message
    return error.value.reason


def test_a_prefix_gives_the_documents_below_it_and_not_its_neighbours(store: Any) -> None:
    found = look("s3://library/docs/")
    assert [file.source_file for file in found.files] == ["a.md", "hr/leave.PDF"]
    assert found.skipped == (
        Skipped("gone.md.meta.json", "a sidecar without its document"),
        Skipped("hr/photo.png", "not a document format"),
    )
    assert found.roots == ("s3://library/docs/",)
    assert found.covers("s3://library/docs/gone.md")
    assert not found.covers("s3://library/docs-old/c.md")


def test_an_object_knows_all_that_its_listing_tells(store: Any) -> None:
    url = "s3://library/docs/a.md"
    etag = f"etag:{store.info('library/docs/a.md')['ETag'].strip(chr(34))}"
    expected = SourceFile(url, url, "a.md", "md", 3, "s3://library/docs/", etag, sidecar=f"{url}.meta.json")
    assert look("s3://library/docs").files[0] == expected


def test_one_object_a_glob_and_a_bucket_are_sources_too(store: Any) -> None:
    assert names("s3://library/docs/a.md") == ["a.md"]
    assert names("s3://library/docs/**/*.PDF") == ["hr/leave.PDF"]
    assert names("S3://library/do*/*.md") == ["docs-old/c.md", "docs/a.md"]
    assert names("s3://library") == ["docs-old/c.md", "docs/a.md", "docs/hr/leave.PDF", "odd/report[1].md"]


def test_a_name_with_brackets_is_an_object_before_it_is_a_glob(store: Any) -> None:
    assert names("s3://library/odd/report[1].md") == ["report[1].md"]


@pytest.mark.parametrize("source", ["s3://library/nowhere", "s3://library/*.docx", "s3://nobody/docs"])
def test_a_source_that_matches_nothing_is_named(store: Any, source: str) -> None:
    with pytest.raises(SetupError, match="matches no object"):
        look(source)


@pytest.mark.parametrize("source", ["s3://", "s3:///", "s3://library/docs/../other"])
def test_a_source_without_a_bucket_or_with_a_climbing_path_is_refused(source: str) -> None:
    with pytest.raises(SetupError, match="must name a bucket"):
        look(source)


@pytest.mark.parametrize("source", ["s3://library/docs-old", "s3://library", "s3://library/do*/a.md", "gs://b/docs"])
def test_a_source_outside_the_allowed_roots_is_refused_before_anything_is_asked(source: str) -> None:
    with pytest.raises(SetupError, match="outside the allowed roots"):
        look(source, allowed_roots=("s3://library/docs/",))


def test_sources_inside_the_allowed_roots_are_found(store: Any) -> None:
    assert look("s3://library/docs", "s3://library/docs/hr/*.PDF", allowed_roots=("s3://library/docs",)).files
    file = look("s3://library/docs/a.md").files[0]
    assert reason_of(file, SourceSettings(allowed_roots=("s3://library/docs/hr",))) == "refused"


def test_a_store_that_cannot_be_reached_or_refuses_is_named(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("SECRET signed address")

    monkeypatch.setattr(type(store), "find", refuse)
    with pytest.raises(SetupError, match=r"s3://library/docs cannot be listed: PermissionError\.$"):
        look("s3://library/docs")


def test_a_client_s_own_errors_are_translated(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = look("s3://library/docs/a.md").files[0]
    error = import_module("botocore.exceptions").NoCredentialsError()

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(store), "find", refuse)
    monkeypatch.setattr(type(store), "open", refuse)
    with pytest.raises(SetupError, match="cannot be listed: NoCredentialsError"):
        look("s3://library/docs")
    assert reason_of(file) == "unreadable"


def test_objects_and_sidecars_are_read(store: Any) -> None:
    file = look("s3://library/docs").files[0]
    assert read_bytes(file, SETTINGS, MIB) == b"# A"
    assert read_sidecar(file, SETTINGS) == b'{"team": "hr"}'


def test_an_object_above_the_limit_is_too_large_even_if_its_listing_said_otherwise(store: Any) -> None:
    file = look("s3://library/docs/a.md").files[0]
    store.pipe_file("library/docs/a.md", b"x" * (MIB + 1))
    assert reason_of(file) == "too_large"
    assert reason_of(dataclasses.replace(file, size=MIB + 1)) == "too_large"


def test_an_object_that_has_gone_is_missing_and_an_empty_one_is_empty(store: Any) -> None:
    gone, empty = look("s3://library/docs").files
    store.rm("library/docs/a.md")
    store.pipe_file("library/docs/hr/leave.PDF", b"")
    assert (reason_of(gone), reason_of(empty)) == ("missing", "empty")


def test_the_version_is_the_etag_and_follows_content_and_sidecar(store: Any) -> None:
    def version() -> str:
        return version_of(look("s3://library/docs").files[0], SETTINGS)

    first = version()
    store.pipe_file("library/docs/a.md", b"# B")
    second = version()
    store.pipe_file("library/docs/a.md.meta.json", b"{}")
    assert len({first, second, version()}) == 3
    assert first.startswith("etag:")
    assert ";meta:" in first


def test_a_version_is_looked_up_where_the_listing_told_none(store: Any) -> None:
    file = look("s3://library/docs/hr/leave.PDF").files[0]
    assert version_of(dataclasses.replace(file, modified=""), SETTINGS) == version_of(file, SETTINGS) == file.modified


def test_a_corpus_in_a_bucket_is_read_in_parts(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "WHOLE_BYTES", 0)
    monkeypatch.setattr(jsonl, "SPAN_BYTES", 2 * MIB)
    store.pipe_file(
        "library/c/a.jsonl", b"".join(json.dumps({"text": f"{n} {'x' * 99_000}"}).encode() + b"\n" for n in range(50))
    )
    with store.open("library/c/b.parquet", "wb") as stream:
        pq.write_table(pa.table({"text": [str(n) for n in range(50)]}), stream, row_group_size=10)
    lines, table = (split(file) for file in look("s3://library/c").files)
    assert (len(lines), len(table)) == (3, 1)
    for parts in (lines, table):
        documents = [found for part in parts for found in read_documents(part, SETTINGS)]
        texts = [found.blocks[0].text for found in documents if isinstance(found, Document)]
        assert [int(text.split()[0]) for text in texts] == list(range(50))


def test_google_s_store_goes_through_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the client is a stand-in: it keeps objects in memory, and tells their checksums under Google's name."""

    class Store(MemoryFileSystem):  # type: ignore[misc]
        protocol = "gs"
        root_marker = ""

        def find(self, path: str, **_: object) -> dict[str, dict[str, object]]:
            return {path: {"name": path, "type": "file", "size": 3, "md5Hash": "abc=="}}

        def open(self, path: str, *args: object, **options: object) -> Any:
            return MemoryFileSystem().open(path.replace("gs://", "memory://"), *args, **options)

    MemoryFileSystem().pipe_file("/b/docs/a.md", b"# A")
    monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: Store())
    (file,) = look("gs://b/docs/a.md").files
    assert (file.uri, version_of(file, SETTINGS)) == ("gs://b/docs/a.md", "etag:abc==")
    assert read_bytes(file, SETTINGS, MIB) == b"# A"
    MemoryFileSystem().rm_file("/b/docs/a.md")
    assert reason_of(file) == "missing"


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs")])
def test_a_missing_client_is_named_with_its_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", refuse)
    file = SourceFile(f"{scheme}://b/a.md", f"{scheme}://b/a.md", "a.md", "md")
    for use in (lambda: look(file.uri), lambda: read_bytes(file, SETTINGS, MIB), lambda: version_of(file, SETTINGS)):
        with pytest.raises(SetupError, match=rf"pip install 'embed-cluster\[{extra}\]'"):
            use()
