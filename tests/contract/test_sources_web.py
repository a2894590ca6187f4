"""Web addresses, against a real server on this machine."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ingest.records import Document
from ingest.settings import MIB, SourceSettings
from ingest.sources import corpus, web
from ingest.sources.base import Skipped, SourceFile
from ingest.sources.corpus import read_documents, split
from ingest.sources.discover import discover
from ingest.sources.read import read_bytes, version_of
from ingest.sources.web import get, is_public, normalised
from serve_app.core.errors import DocumentError, SetupError

ANY_HOST = SourceSettings(allow_private_hosts=True)


@dataclass(frozen=True, slots=True)
class Page:
    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Site(ThreadingHTTPServer):
    """Answers what `pages` holds for a path, and keeps the requests it got."""

    pages: dict[str, Page]
    seen: list[str]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def name(self, path: str) -> str:
        return f"127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        page = self.server.pages.get(self.path, Page(status=404))
        self.send_response(page.status)
        for name, value in ({"Content-Length": str(len(page.content))} | page.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site(("127.0.0.1", 0), Handler)
    server.pages, server.seen = {}, []
    thread = Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def page_at(url: str) -> SourceFile:
    return SourceFile(uri=url, path=url, source_file="page", format="html")


def reason_of(url: str, settings: SourceSettings = ANY_HOST, max_bytes: int = MIB) -> str:
    with pytest.raises(DocumentError) as error:
        read_bytes(page_at(url), settings, max_bytes)
    assert "key=" not in error.value.message
    return error.value.reason


def test_an_address_is_read(site: Site) -> None:
    site.pages["/a.html"] = Page(b"<p>1")
    (file,) = discover([site.url("/a.html#top")], ANY_HOST).files
    assert file == SourceFile(
        site.url("/a.html"), site.url("/a.html"), site.name("/a.html"), "html", root=site.url("/a.html")
    )
    assert read_bytes(file, ANY_HOST, MIB) == b"<p>1"


def test_an_address_without_an_extension_has_the_format_its_server_tells(site: Site) -> None:
    site.pages["/leave"] = Page(headers={"Content-Type": "application/pdf; version=1.7"})
    site.pages["/photo.png"] = Page(headers={"Content-Type": "image/png"})
    found = discover([site.url("/leave"), site.url("/photo.png")], ANY_HOST)
    assert [file.format for file in found.files] == ["pdf"]
    assert found.skipped == (Skipped(site.name("/photo.png"), "not a document format"),)


def test_an_address_that_does_not_answer_is_kept_so_that_it_does_not_look_deleted(site: Site) -> None:
    site.pages["/leave"] = Page(status=503)
    (file,) = discover([site.url("/leave")], ANY_HOST).files
    assert reason_of(file.path) == "unreadable"


def test_a_query_tells_addresses_apart_but_is_not_in_their_names(site: Site) -> None:
    found = discover([site.url("/a.html?key=1"), site.url("/a.html?key=2")], ANY_HOST)
    assert len({file.source_file for file in found.files}) == 2
    assert all("key" in file.uri and "key" not in file.source_file for file in found.files)


def test_a_list_stands_for_the_addresses_in_it(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"\ufeff# pages\n\n{site.url('/b.html')}\n  {site.url('/a.md')}  \n{site.url('/b.html')}\n")
    found = discover([f"list:{path}"], ANY_HOST)
    assert [file.path for file in found.files] == [site.url("/a.md"), site.url("/b.html")]
    assert {file.root for file in found.files} == set(found.roots) == {f"list:{path}"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no URL"),
        (b"# nothing\n", "holds no URL"),
        (b"\n/etc/passwd\n", "Line 2 of the list"),
        (b"file:///etc/passwd", "Line 1 of the list"),
        (b"\xff\xfe", "cannot be read as UTF-8"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "urls.txt").write_bytes(content)
    with pytest.raises(SetupError, match=problem):
        discover([f"list:{tmp_path / 'urls.txt'}"], ANY_HOST)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        discover([f"list:{tmp_path / 'urls.txt'}"], ANY_HOST)


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://user:secret@example.com/a.md", "https://example.com/docs/%2e%2e/a.md"],
)
def test_a_malformed_address_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(SetupError, match="cannot be used") as error:
        discover([url], ANY_HOST)
    assert "secret" not in error.value.message


def test_one_address_has_one_spelling() -> None:
    assert normalised("HTTP://Example.COM:80/文档 a.md#x") == "http://example.com/%E6%96%87%E6%A1%A3%20a.md"


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "missing"), (410, "missing"), (403, "unreadable"), (500, "unreadable")]
)
def test_an_error_of_the_server_has_a_reason(site: Site, status: int, reason: str) -> None:
    site.pages["/a.html?key=1"] = Page(b"no", status=status)
    assert reason_of(site.url("/a.html?key=1")) == reason


def test_an_empty_page_is_empty(site: Site) -> None:
    site.pages["/a.html"] = Page(b"")
    assert reason_of(site.url("/a.html")) == "empty"


def test_a_page_above_the_limit_is_too_large(site: Site) -> None:
    site.pages["/a.html"] = Page(b"x" * (MIB + 1))
    assert reason_of(site.url("/a.html")) == "too_large"


def test_a_page_that_breaks_off_is_unreadable(site: Site) -> None:
    site.pages["/a.html"] = Page(b"half", headers={"Content-Length": "8"})
    assert reason_of(site.url("/a.html")) == "unreadable"


def test_a_compressed_page_is_not_unpacked(site: Site) -> None:
    site.pages["/a.html"] = Page(b"bomb", headers={"Content-Encoding": "gzip"})
    assert reason_of(site.url("/a.html")) == "unreadable"


def test_a_page_that_arrives_too_slowly_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["/a.html"] = Page(b"x")
    monkeypatch.setattr(web, "TOTAL_TIMEOUT_S", -1.0)
    assert reason_of(site.url("/a.html")) == "unreadable"


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert reason_of(f"http://127.0.0.1:{silent.getsockname()[1]}/a") == "unreadable"


def test_nobody_listening_is_unreadable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert reason_of(f"http://127.0.0.1:{port}/a.html") == "unreadable"


def test_an_unknown_host_is_unreadable() -> None:
    assert reason_of("http://nowhere.invalid/a.html") == "unreadable"
    assert reason_of(f"http://{'x' * 64}.invalid/a.html") == "unreadable"


def test_five_redirects_are_followed_and_six_are_not(site: Site) -> None:
    for step in range(6):
        site.pages[f"/{step}"] = Page(status=302, headers={"Location": str(step + 1)})
    site.pages["/6"] = Page(b"here")
    assert read_bytes(page_at(site.url("/1")), ANY_HOST, MIB) == b"here"
    assert reason_of(site.url("/0")) == "unreadable"


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://example.com/a", "gopher://127.0.0.1/", "http://a:b@example.com/"],
)
def test_a_redirect_to_anything_but_a_plain_web_address_is_refused(site: Site, location: str) -> None:
    site.pages["/a.html"] = Page(status=301, headers={"Location": location})
    assert reason_of(site.url("/a.html")) == "refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433"])
def test_a_loopback_address_is_refused_however_it_is_written(site: Site, host: str) -> None:
    site.pages["/a.html"] = Page(b"internal")
    assert reason_of(f"http://{host}:{site.server_port}/a.html", SourceSettings()) == "refused"
    assert site.seen == []


def resolve(monkeypatch: pytest.MonkeyPatch, **names: list[list[str]]) -> None:
    """Each look-up of a name takes its next answer; addresses stand for themselves."""
    answers = {f"{name}.example.com": iter(found) for name, found in names.items()}

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        addresses = next(answers.get(host, iter([[host]])))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_name_that_resolves_to_a_private_address_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, intranet=[["127.0.0.1", "10.0.0.1"]])
    assert reason_of(f"http://intranet.example.com:{site.server_port}/a.html", SourceSettings()) == "refused"
    assert site.seen == []


def test_a_redirect_into_the_private_network_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host counts as public; the second is what a metadata service would be."""
    site.pages["/a.html"] = Page(status=302, headers={"Location": f"http://inner.example.com:{site.server_port}/"})
    resolve(monkeypatch, public=[["127.0.0.1"]], inner=[["169.254.169.254"]])
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    assert reason_of(f"http://public.example.com:{site.server_port}/a.html", SourceSettings()) == "refused"
    assert site.seen == ["/a.html"]


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is looked up a second time would lead elsewhere: here, to where nobody listens."""
    site.pages["/a.html"] = Page(b"here")
    resolve(monkeypatch, public=[["127.0.0.1"], ["127.0.0.2"]])
    with get(f"http://public.example.com:{site.server_port}/a.html", "page", ANY_HOST) as answer:
        assert b"".join(answer.chunks) == b"here"


def test_a_redirect_out_of_the_allowed_roots_is_refused(site: Site) -> None:
    site.pages["/docs/a.html"] = Page(status=302, headers={"Location": "/secret.html"})
    site.pages["/docs/b.html"] = Page(b"here")
    inside = SourceSettings(allow_private_hosts=True, allowed_roots=(site.url("/docs"),))
    assert read_bytes(page_at(site.url("/docs/b.html")), inside, MIB) == b"here"
    assert reason_of(site.url("/docs/a.html"), inside) == "refused"


@pytest.mark.parametrize(
    "url",
    ["http://example.com/docs-old/a.md", "http://example.com.evil/docs/a.md", "https://example.com/docs/a.md"],
)
def test_an_address_outside_the_allowed_roots_is_refused(url: str) -> None:
    settings = SourceSettings(allowed_roots=("http://example.com/docs",))
    assert discover(["http://example.com:80/docs/a.md"], settings).files
    with pytest.raises(SetupError, match="outside the allowed roots"):
        discover([url], settings)


def test_a_corpus_behind_an_address_is_read_row_by_row(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["/faq.jsonl"] = Page(b'{"text": "one"}\n{"text": 2}\n{"text": "three"}')
    (file,) = discover([site.url("/faq.jsonl")], ANY_HOST).files
    assert split(file) == [file]
    assert [isinstance(found, Document) for found in read_documents(file, ANY_HOST)] == [True, False, True]
    monkeypatch.setattr(corpus, "MAX_DOWNLOAD_BYTES", 10)
    with pytest.raises(DocumentError) as error:
        list(read_documents(file, ANY_HOST))
    assert error.value.reason == "too_large"


def test_the_version_is_the_server_s_etag_or_date_or_the_content_s_hash(site: Site) -> None:
    site.pages["/tag"] = Page(b"1", headers={"ETag": '"abc"', "Last-Modified": "Mon"})
    site.pages["/date"] = Page(b"12", headers={"Last-Modified": "Mon"})
    site.pages["/none"] = Page(b"3")
    tag, date, none = (version_of(page_at(site.url(path)), ANY_HOST) for path in ("/tag", "/date", "/none"))
    assert (tag, date) == ('etag:"abc"', "modified:Mon;2")
    assert none == f"sha256:{hashlib.sha256(b'3').hexdigest()}"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_no_private_address_counts_as_public_whatever_wraps_it(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::6810:84e5", "64:ff9b::5db8:d822"])
def test_public_addresses_count_as_public(address: str) -> None:
    assert is_public(address)
