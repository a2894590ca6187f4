"""Files whose names lie, formats of yesterday, and archives that mean harm."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from docx import Document as new_document
from hypothesis import given
from hypothesis import strategies as st

from ingest.parse import archives
from ingest.parse.archives import opened
from ingest.parse.formats import OUTDATED, READABLE, actual_format
from serve_app.core.errors import DocumentError

HTML = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x --><!DOCTYPE html><html><body>text</body></html>'
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9
PDF = b"%PDF-1.7\nrest"


def zipped(**parts: bytes) -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def word() -> bytes:
    buffer = BytesIO()
    document = new_document()
    document.add_paragraph("text")
    document.save(buffer)
    return buffer.getvalue()


def container(*streams: str) -> bytes:
    """Enough of an OLE file: a header sector, and a directory of 128 bytes a stream."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0") + b"".join(
        stream.encode("utf-16-le").ljust(128, b"\0") for stream in ("Root Entry", *streams)
    )


def refusal(named: str, content: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        actual_format(named, content)
    return caught.value


@pytest.mark.parametrize(
    ("named", "content", "actual"),
    [
        ("pdf", HTML, "html"),
        ("xls", HTML, "html"),
        ("txt", HTML, "html"),
        ("csv", "<html><body>".encode("utf-16"), "html"),
        ("docx", PDF, "pdf"),
        ("txt", PDF, "pdf"),
        ("pdf", b"\n\nscanner says hello" + PDF, "pdf"),
        ("doc", word(), "docx"),
        ("xlsx", word(), "docx"),
        ("txt", zipped(xl__workbook=b"<x/>"), "xlsx"),
        ("pdf", zipped(ppt__presentation=b"<x/>"), "pptx"),
        ("md", b"# A title", "md"),
        ("txt", b"<htmlish is not a tag", "txt"),
        ("txt", b"how to write <html> pages", "txt"),
    ],
)
def test_a_file_is_what_its_content_is(named: str, content: bytes, actual: str) -> None:
    assert actual_format(named, content) == actual


@pytest.mark.parametrize(
    ("named", "content"),
    [
        ("txt", PICTURE),
        ("md", PICTURE),
        ("docx", PICTURE),
        ("txt", zipped(holiday=b"picture")),
        ("xlsx", zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet")),
        ("txt", b"PK\x03\x04 cut off"),
        ("pdf", b"404 not found"),
        ("docx", b"plain text"),
        ("xls", b"a\tb\n1\t2"),
        ("", b"an attachment without an extension"),
        ("doc", container("Contents")),
    ],
)
def test_a_file_that_is_nothing_we_read_is_in_the_wrong_format(named: str, content: bytes) -> None:
    assert refusal(named, content).reason == "wrong_format"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (container("WordDocument"), "docx"),
        (container("Workbook"), "xlsx"),
        (container("Book"), "xlsx"),
        (container("PowerPoint Document"), "pptx"),
        (rb"{\rtf1\ansi text}", "docx"),
    ],
)
@pytest.mark.parametrize("named", ["doc", "docx", "txt"])
def test_a_file_of_an_old_format_is_refused_with_the_fix(named: str, content: bytes, wanted: str) -> None:
    error = refusal(named, content)
    assert (error.reason, f"save it as {wanted}" in error.message) == ("old_format", True)


@pytest.mark.parametrize("named", ["docx", "xlsx", "pptx", "doc"])
def test_an_office_file_with_a_password_is_encrypted(named: str) -> None:
    assert refusal(named, container("EncryptionInfo", "EncryptedPackage")).reason == "encrypted"


def test_a_stream_that_is_only_mentioned_in_the_text_is_no_stream() -> None:
    content = container("Workbook") + b"....." + "EncryptedPackage\0".encode("utf-16-le")
    assert refusal("xls", content).reason == "old_format"


@given(st.sampled_from(sorted(READABLE | OUTDATED.keys())), st.binary(max_size=200))
def test_no_content_breaks_the_look_at_it(named: str, content: bytes) -> None:
    try:
        assert actual_format(named, content) in READABLE
    except DocumentError as error:
        assert error.reason in {"wrong_format", "old_format", "encrypted"}  # noqa: PT017


def archive_reason(content: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        opened(content)
    return caught.value.reason


def lying(content: bytes, size: int) -> bytes:
    """The same archive, which declares in its directory that its first part has `size` bytes unpacked."""
    entry = content.index(b"PK\x01\x02")
    return content[: entry + 24] + struct.pack("<I", size) + content[entry + 28 :]


def test_an_honest_archive_is_opened() -> None:
    content = word()
    assert opened(content).getvalue() == content


def test_a_part_that_grows_a_thousandfold_is_a_zip_bomb() -> None:
    assert archive_reason(zipped(word__document=bytes(20 << 20))) == "zip_bomb"


def test_a_part_that_is_larger_than_it_declares_is_a_zip_bomb() -> None:
    assert archive_reason(lying(zipped(word__document=bytes(4 << 20)), 1000)) == "zip_bomb"


def test_a_small_part_may_be_as_repetitive_as_it_likes() -> None:
    opened(zipped(word__document=bytes(4 << 20)))


def test_an_archive_that_would_fill_the_memory_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAX_UNPACKED_BYTES", 1000)
    assert archive_reason(word()) == "too_large"


def test_unpacking_takes_no_more_copies_of_a_part_the_larger_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped(word__document=np.random.default_rng(0).bytes(1 << 18))
    handed = 0

    class Inflater:
        def __init__(self, bits: int) -> None:
            self._inflater = decompressobj(bits)

        def decompress(self, packed: bytes, longest: int) -> bytes:
            nonlocal handed
            handed += len(packed)
            return self._inflater.decompress(packed, longest)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inflater, name)

    decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Inflater)
    monkeypatch.setattr(archives, "_STEP", 1 << 10)
    opened(content)
    assert len(content) / 2 < handed < 3 * len(content)


def test_an_archive_of_too_many_parts_is_a_zip_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAX_PARTS", 2)
    assert archive_reason(zipped(a=b"", b=b"", c=b"")) == "zip_bomb"


def test_an_archive_with_a_password_is_encrypted() -> None:
    content = zipped(word__document=b"text")
    flags = content.index(b"PK\x01\x02") + 8
    assert archive_reason(content[:flags] + b"\x01\0" + content[flags + 2 :]) == "encrypted"


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_no_damage_to_an_archive_breaks_the_check(place: int, damage: bytes) -> None:
    content = zipped(word__document=b"some text " * 40, word__styles=b"more text")
    try:
        opened(content[:place] + damage + content[place + len(damage) :])
    except DocumentError as error:
        assert error.reason in {"corrupt", "encrypted", "too_large", "zip_bomb"}  # noqa: PT017
