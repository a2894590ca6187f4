"""Checks shared by the Office formats, which are ZIP archives of XML."""

from __future__ import annotations

import zlib
from io import BytesIO
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile, ZipFile

from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]

from serve_app.core.errors import DocumentError

_MAX_UNPACKED_BYTES = 2 << 30
_OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# What python-docx and openpyxl let through when an archive or a part of it is damaged, found by damaging files. They
# have no exceptions of their own for it: a part that is not there is a KeyError, an attribute of the wrong type a
# TypeError, ValueError or AttributeError, a style that is not there an IndexError, a missing workbook an OSError,
# and an archive that claims to need encryption or a later version a RuntimeError.
DAMAGE = (
    *(BadZipFile, zlib.error, EOFError, XMLSyntaxError, ParseError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, OSError, RuntimeError),
)


def opened(content: bytes) -> BytesIO:
    """The archive, checked enough to be handed to a reader.

    Raises DocumentError: corrupt, encrypted, or too_large (the archive would unpack to more than 2 GiB).
    """
    if content.startswith(_OLE2):
        raise DocumentError(
            "The file is protected by a password, or in the format of Office 97; save it again without.",
            reason="encrypted",
        )
    try:
        with ZipFile(BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except DAMAGE as error:
        raise corrupt() from error
    if unpacked > _MAX_UNPACKED_BYTES:
        raise DocumentError(f"The file unpacks to {unpacked} bytes; the limit is 2 GiB.", reason="too_large")
    return BytesIO(content)


def corrupt() -> DocumentError:
    return DocumentError("The file is damaged; open it in its own program and save it again.", reason="corrupt")
