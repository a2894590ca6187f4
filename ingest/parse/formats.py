"""What a file is by its content. Names lie: an .xls is often HTML, a .txt now and then a picture."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Final
from zipfile import BadZipFile, ZipFile

from serve_app.core.errors import DocumentError

READABLE: Final = frozenset({"txt", "md", "html", "pdf", "docx", "xlsx", "pptx", "csv", "tsv", "eml"})
OUTDATED: Final = {"doc": "docx", "xls": "xlsx", "ppt": "pptx", "rtf": "docx"}  # each with what to save it as
_OFFICE = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}
_MARKED = frozenset({"pdf", *_OFFICE.values(), *OUTDATED})  # formats that begin with a mark of their own
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = {"WordDocument": "doc", "Workbook": "xls", "Book": "xls", "PowerPoint Document": "ppt"}
_PDF_WITHIN = 1024  # bytes; readers accept that much before the mark
_HTML = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.I | re.S)
_HEAD = 4096  # bytes
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"\x7fELF": "a program",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"SQLite format 3\0": "a database",
}


def actual_format(named: str, content: bytes) -> str:
    """The readable format that the content is in; `named` is what the file's name says, and decides between texts.

    Raises DocumentError: wrong_format, old_format or encrypted.
    """
    if content.startswith(_OLE):
        raise _ole_refusal(content)
    if content.startswith(b"{\\rtf"):
        raise _outdated("rtf")
    found = _marked(named, content)
    if found is not None:
        return found
    other = next((name for mark, name in _PICTURES.items() if content.startswith(mark)), None)
    if other is not None:
        raise wrong_format(f"The file is {other}")
    if _is_html(content):
        return "html"
    if named in _MARKED or named not in READABLE:
        raise wrong_format("The content is not what the file's extension says")
    return named


def wrong_format(what: str) -> DocumentError:
    readable = ", ".join(sorted(READABLE))
    return DocumentError(f"{what}; give it the right extension, or convert it to one of {readable}.", "wrong_format")


def _marked(named: str, content: bytes) -> str | None:
    """PDF and Office; a ZIP archive that cannot be opened stays what its name says, to be refused as damaged."""
    if content.startswith(b"PK\x03\x04"):
        return _archive_format(named, content)
    if content.find(b"%PDF-", 0, _PDF_WITHIN) == 0 or (named == "pdf" and b"%PDF-" in content[:_PDF_WITHIN]):
        return "pdf"
    return None


def _archive_format(named: str, content: bytes) -> str:
    try:
        with ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
    except (BadZipFile, ValueError, OSError, NotImplementedError) as error:
        if named in _OFFICE.values():
            return named
        raise wrong_format("The file is a damaged ZIP archive") from error
    for folder, office_format in _OFFICE.items():
        if any(name.startswith(folder) for name in names):
            return office_format
    if named in _OFFICE.values() and "[Content_Types].xml" in names:
        return named  # parts may lie in any folder; the reader follows the relations between them
    raise wrong_format("The file is a ZIP archive without an Office document in it")


def _is_html(content: bytes) -> bool:
    head = content[:_HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return _HTML.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def _ole_refusal(content: bytes) -> DocumentError:
    """OLE containers hold the formats of Office 97, and Office documents that are encrypted."""
    if _holds_stream(content, "EncryptedPackage"):
        return DocumentError("The file is protected by a password; save it again without.", "encrypted")
    found = next((old for stream, old in _STREAMS.items() if _holds_stream(content, stream)), None)
    return (
        wrong_format("The file is an OLE container without an Office document") if found is None else _outdated(found)
    )


def _holds_stream(content: bytes, name: str) -> bool:
    """Whether the container's directory names the stream: entries are 128 bytes, and so are their offsets."""
    entry = f"{name}\0".encode("utf-16-le")
    at = content.find(entry)
    while at != -1 and at % 128:
        at = content.find(entry, at + 1)
    return at != -1


def _outdated(found: str) -> DocumentError:
    return DocumentError(f"The file is in the old format {found}; save it as {OUTDATED[found]}.", "old_format")
