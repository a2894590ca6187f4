"""E-mail: subject, people, body, and attachments by the format that they have."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.parse.builtin import read
from ingest.records import Block
from ingest.settings import ParseSettings
from serve_app.core.errors import DocumentError


def mail(body: str = "Dear Ms Li\n\nThe pump is broken.", subtype: str = "plain") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "报价单 for the pump"
    message["From"] = "Li Na <li@example.org>"
    message["To"] = "sales@example.org"
    message.set_content(body, subtype=subtype)
    return message


def blocks(message: EmailMessage | bytes) -> list[Block]:
    content = message if isinstance(message, bytes) else message.as_bytes()
    return list(read(content, "eml", ParseSettings()).blocks)


def attach(message: EmailMessage, content: bytes, name: str, kind: str = "application/octet-stream") -> EmailMessage:
    main, sub = kind.split("/")
    message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return message


def test_a_mail_is_its_subject_its_people_and_its_text() -> None:
    assert blocks(mail()) == [
        Block("heading", "报价单 for the pump", 1),
        Block("text", "From: Li Na <li@example.org>\nTo: sales@example.org"),
        Block("text", "Dear Ms Li"),
        Block("text", "The pump is broken."),
    ]


def test_the_subject_is_the_title() -> None:
    assert read(mail().as_bytes(), "eml", ParseSettings()).title == "报价单 for the pump"


def test_a_mail_that_is_only_html_is_read_as_html_below_its_subject() -> None:
    found = blocks(mail("<h1>Offer</h1><p>Text</p><script>evil()</script>", "html"))
    assert found[2:] == [Block("heading", "Offer", 2), Block("text", "Text")]


def test_the_plain_text_is_taken_rather_than_its_html_twin() -> None:
    message = mail("plain words")
    message.add_alternative("<p>html words</p>", subtype="html")
    assert "html words" not in str(blocks(message))


def test_attachments_become_sections_and_their_pages_and_levels_fit_in() -> None:
    message = attach(mail(), b"part,price\nHose,5\n", "prices.csv")
    attach(message, b"# Manual\n\ntext", "manual.md")
    found = blocks(message)
    assert found[1].text.endswith("Attachments: prices.csv, manual.md")
    assert found[4] == Block("heading", "prices.csv", 2)
    assert found[5].text.endswith("| Hose | 5 |")
    assert found[6:] == [
        Block("heading", "manual.md", 2),
        Block("heading", "Manual", 3),
        Block("text", "text"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("b.docx", b"PK\x03\x04"),
    ],
)
def test_an_attachment_that_cannot_be_read_is_only_named(name: str, content: bytes) -> None:
    found = blocks(attach(mail(), content, name))
    assert [name in block.text for block in found] == [False, True, False, False]


def test_an_attachment_is_read_as_what_it_is() -> None:
    found = blocks(attach(mail(), b"<!doctype html><html><h1>Offer</h1></html>", "offer.pdf"))
    assert found[-1] == Block("heading", "Offer", 3)


def test_mails_in_mails_are_read_to_a_depth() -> None:
    message = mail("the innermost text")
    for _ in range(6):
        outer = mail("an outer text")
        outer.add_attachment(message)
        message = outer
    texts = [block.text for block in blocks(message)]
    assert texts.count("an outer text") == 4
    assert "the innermost text" not in texts


def test_only_so_many_attachments_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.parse.mail._MAX_ATTACHMENTS", 2)
    message = mail()
    for number in range(4):
        attach(message, b"words", f"{number}.txt")
    assert [block.text for block in blocks(message) if block.kind == "heading"][1:] == ["0.txt", "1.txt"]


@pytest.mark.parametrize("charset", ["gb2312", "gb18030", "utf-8", "no-such-charset"])
def test_the_body_is_read_in_the_charset_it_was_written_in(charset: str) -> None:
    written = {"no-such-charset": "gb18030"}.get(charset, charset)
    content = "From: a@example.org\nContent-Type: text/plain; charset={}\nContent-Transfer-Encoding: 8bit\n\n"
    body = "水泵坏了，请尽快派人来修理，谢谢。这台水泵是去年购买的，仍在保修期内。"
    assert blocks(content.format(charset).encode() + body.encode(written))[-1].text == body


def test_a_file_without_any_mail_header_is_no_mail() -> None:
    with pytest.raises(DocumentError) as caught:
        blocks(b"only some words\n\nand more of them")
    assert caught.value.reason == "wrong_format"


@given(st.binary(max_size=300), st.sampled_from([b"From: ", b"Content-Type: multipart/mixed; boundary=", b"Date: "]))
def test_no_mail_breaks_the_parser(rest: bytes, header: bytes) -> None:
    try:
        blocks(b"Subject: x\n" + header + rest)
    except DocumentError as error:
        assert error.reason in {"wrong_format", "bad_metadata"}  # noqa: PT017
