"""The page behind /docs: it tells the whole interface and asks no other host for anything."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from serve_app.http.docs_page import docs_page
from serve_app.http.openapi import openapi_document
from tests.unit.serve_app.surface import FakeHandle, send, settings, surface

DOCUMENT = openapi_document("Embedding cluster", "1")
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Its text, its addresses by attribute, and what stands inside `style` and `script`. Fails if tags do not match."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.inline: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(content)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset", "data"}]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"style", "script"}:
            self.inline[self._open[-1]] = data
        else:
            self.text += data


@pytest.fixture
def answer(tmp_path: Path) -> httpx.Response:
    return send(surface(settings(tmp_path), FakeHandle()), "GET", "/docs")


def test_the_page_names_no_other_host(answer: httpx.Response) -> None:
    page = Page(answer.text)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert all(address == "openapi.json" or address.startswith("#") for address in page.addresses)
    assert set(re.findall(r"\w+://[^/\s<]*|(?<=[\"'(])//\w+", answer.text)) == {"http://localhost:8000"}
    assert not re.search(r"url\(|@import|fetch|XMLHttpRequest|import\(", answer.text)


def test_the_browser_is_told_to_run_only_what_is_in_the_page_and_to_ask_nobody(answer: httpx.Response) -> None:
    policy = answer.headers["content-security-policy"].split("; ")
    inline = Page(answer.text).inline
    digests = {kind: b64encode(sha256(text.encode()).digest()).decode() for kind, text in inline.items()}
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digests['script']}'" in policy
    assert f"style-src 'sha256-{digests['style']}'" in policy


def test_every_operation_and_every_field_is_told_with_its_rule() -> None:
    page = Page(docs_page(DOCUMENT))
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()}{path}" in page.text
            assert operation["summary"] in page.text
    for name in ("EmbeddingRequest", "TokenizeRequest"):
        for field, told in DOCUMENT["components"]["schemas"][name]["properties"].items():
            assert field in page.text
            assert told["description"].replace("`", "") in page.text
    assert "string, list of strings, list of integers or list of lists of integers" in page.text
    assert '"embedding": [number, …] or string' in page.text
    assert "document or query" in page.text
    assert "404 model not found" in page.text
    assert "429 overloaded with Retry-After" in page.text


def test_every_link_leads_somewhere() -> None:
    content = docs_page(DOCUMENT)
    anchors = {address[1:] for address in Page(content).addresses if address.startswith("#")}
    assert anchors == set(re.findall(r'<section id="([^"]+)"', content))
    assert len(anchors) == len(DOCUMENT["paths"])


def test_an_example_can_be_pasted_as_it_stands() -> None:
    text = Page(docs_page(DOCUMENT)).text
    assert (
        "curl -s http://localhost:8000/v1/embeddings \\\n"
        '  -H "Authorization: Bearer $KEY" \\\n'
        '  -d \'{"model": "MODEL", "input": ["late delivery"]}\'' in text
    )
    assert "curl -s http://localhost:8000/v1/models/MODEL" in text
    assert "curl -s http://localhost:8000/health" in text


def test_what_the_document_says_is_text_and_never_html() -> None:
    content = docs_page(openapi_document("<script>alert(1)</script>", "1"))
    assert "<script>alert" not in content
    assert "&lt;script&gt;alert(1)" in content
