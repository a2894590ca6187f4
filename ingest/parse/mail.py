"""E-mail: the subject as heading, who wrote to whom and when, the body, and the attachments as sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from ingest.parse.encoding import decode
from ingest.parse.formats import wrong_format
from ingest.parse.html import html_blocks
from ingest.parse.parsed import Parsed
from ingest.parse.text import text_blocks
from ingest.records import Block
from serve_app.core.errors import DocumentError

ReadAttachment = Callable[[bytes, str], Parsed]  # content, file name
_SHOWN = ("From", "To", "Cc", "Date")
_EXPECTED = (*_SHOWN, "Subject", "Received", "Message-ID", "MIME-Version")
_MAX_ATTACHMENTS = 50  # read; the others are only named
_BROKEN = (ValueError, LookupError, AttributeError, TypeError)  # what the library raises over some headers and parts


def read(content: bytes, read_attachment: ReadAttachment | None) -> Parsed:
    """Attachments that `read_attachment` refuses are only named; without it, all of them.

    Raises DocumentError(reason="wrong_format") if there is no mail header.
    """
    message = BytesParser(EmailMessage, policy=policy.default).parsebytes(content)
    if not any(name in message for name in _EXPECTED):
        raise wrong_format("The file is no e-mail: it has none of the headers of one")
    subject = _header(message, "Subject")
    attachments = _attachments(message)
    blocks = [
        *([Block("heading", subject, 1)] if subject else []),
        *_head(message, [name for name, _ in attachments]),
        *_body(message),
    ]
    if read_attachment is not None:
        for name, attached in attachments[:_MAX_ATTACHMENTS]:
            blocks += _section(name, attached, read_attachment)
    return Parsed(subject or None, tuple(blocks))


def _head(message: EmailMessage, attachments: Sequence[str]) -> Iterator[Block]:
    lines = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
    if attachments:
        lines.append(f"Attachments: {', '.join(attachments)}")
    if lines:
        yield Block("text", "\n".join(lines))


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except _BROKEN:
        return ""


def _body(message: EmailMessage) -> list[Block]:
    """The plain text if there is some: its HTML twin is mostly layout."""
    found = (blocks for kind in ("plain", "html") if (blocks := _body_blocks(message, kind)))
    return next(found, [])


def _body_blocks(message: EmailMessage, kind: str) -> list[Block]:
    try:
        part = message.get_body((kind,))
    except _BROKEN:
        return []
    if not isinstance(part, EmailMessage):
        return []
    text = _text(part)
    blocks = html_blocks(text) if kind == "html" else text_blocks(text)
    return _lowered(blocks, 1)


def _text(part: EmailMessage) -> str:
    content = _content(part)
    try:
        return content.decode(part.get_content_charset("")).replace("\r\n", "\n")
    except (LookupError, UnicodeDecodeError):  # no such encoding, or another one
        return decode(content) if content else ""


def _attachments(message: EmailMessage) -> list[tuple[str, bytes]]:
    """Their names and contents; pictures inside the body are not among them."""
    try:
        parts = [part for part in message.iter_attachments() if isinstance(part, EmailMessage)]
    except _BROKEN:
        return []
    return [(_name(part, number), _content(part)) for number, part in enumerate(parts, 1)]


def _name(part: EmailMessage, number: int) -> str:
    ending = {"message/rfc822": ".eml", "text/html": ".html", "text/plain": ".txt"}.get(part.get_content_type(), "")
    try:
        name = part.get_filename()
    except _BROKEN:
        name = None
    return " ".join((name or f"attachment-{number}{ending}").split())


def _content(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) and isinstance(inner[0], EmailMessage) else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _section(name: str, content: bytes, read_attachment: ReadAttachment) -> list[Block]:
    try:
        blocks = read_attachment(content, name).blocks
    except DocumentError:
        return []
    return [Block("heading", name, 2), *_lowered(blocks, 2)] if blocks else []


def _lowered(blocks: Sequence[Block], depth: int) -> list[Block]:
    """Headings below the mail's own; a page of an attachment is no page of the mail."""
    return [replace(block, level=block.level + depth if block.kind == "heading" else 0, page=None) for block in blocks]
