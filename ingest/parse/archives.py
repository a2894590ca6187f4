"""Checks shared by the Office formats, which are ZIP archives of XML."""

from __future__ import annotations

import zlib
from io import BytesIO
from xml.etree.ElementTree import ParseError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]

from serve_app.core.errors import DocumentError

_MAX_UNPACKED_BYTES = 1 << 30
_MAX_PARTS = 20_000
_MAX_RATIO = 200  # of one part, unpacked to packed; the most repetitive sheets stay below 100
_SMALL = 16 << 20  # bytes; below, no ratio does harm
_STEP = 1 << 20  # bytes taken and unpacked at a time
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1  # flag

# What python-docx, python-pptx and openpyxl let through when an archive or a part of it is damaged, found by damaging
# files. They have no exceptions of their own for it: a part that is not there is a KeyError, an attribute of the wrong
# type a TypeError, ValueError or AttributeError, a style that is not there an IndexError, a missing workbook an
# OSError, and an archive that claims to need encryption or a later version a RuntimeError.
DAMAGE = (
    *(BadZipFile, zlib.error, EOFError, XMLSyntaxError, ParseError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, OSError, RuntimeError),
)


def opened(content: bytes) -> BytesIO:
    """The archive, checked enough to be handed to a reader.

    Raises DocumentError: corrupt, encrypted, too_large or zip_bomb. What the archive says about its sizes is checked
    first, and then by unpacking it in small steps: the reader unpacks a part whole, whatever was declared.
    """
    try:
        with ZipFile(BytesIO(content)) as archive:
            parts = archive.infolist()
    except DAMAGE as error:
        raise corrupt() from error
    if any(part.flag_bits & _ENCRYPTED for part in parts):
        raise DocumentError("The file is protected by a password; save it again without.", reason="encrypted")
    if len(parts) > _MAX_PARTS:
        raise _bomb(f"has {len(parts)} parts", f"{_MAX_PARTS}")
    _check([(part.file_size, part.compress_size) for part in parts])
    try:
        _check([(_unpacked_bytes(content, part), part.compress_size) for part in parts])
    except (zlib.error, IndexError) as error:
        raise corrupt() from error
    return BytesIO(content)


def corrupt() -> DocumentError:
    return DocumentError("The file is damaged; open it in its own program and save it again.", reason="corrupt")


def _check(sizes: list[tuple[int, int]]) -> None:
    """Of every part, unpacked and packed."""
    for unpacked, packed in sizes:
        if unpacked > _SMALL and unpacked > _MAX_RATIO * packed:
            raise _bomb(f"holds a part that grows {unpacked // max(1, packed)} times", f"{_MAX_RATIO} times")
    whole = sum(unpacked for unpacked, _ in sizes)
    if whole > _MAX_UNPACKED_BYTES:
        limit = f"{_MAX_UNPACKED_BYTES >> 20} MiB"
        raise DocumentError(f"The file unpacks to {whole >> 20} MiB; the limit is {limit}.", reason="too_large")


def _unpacked_bytes(content: bytes, part: ZipInfo) -> int:
    """How much the part really holds; more than it declares is a lie, and told at once."""
    if part.compress_type == ZIP_STORED:
        return part.compress_size
    if part.compress_type != ZIP_DEFLATED:
        raise corrupt()  # Office knows no other method
    header = part.header_offset
    names = content[header + 26 : header + _LOCAL_HEADER_BYTES]  # the lengths of the name and of the extra field
    start = header + _LOCAL_HEADER_BYTES + int.from_bytes(names[:2], "little") + int.from_bytes(names[2:], "little")
    packed = memoryview(content)[start : start + part.compress_size]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = taken = 0
    while not inflater.eof:
        # A copy of what is left of the piece, which is why pieces are small.
        piece: bytes | memoryview = inflater.unconsumed_tail
        if not piece:
            piece = packed[taken : taken + _STEP]
            taken += len(piece)
        step = len(inflater.decompress(piece, _STEP))
        unpacked += step
        if unpacked > part.file_size:
            raise _bomb("holds a part that is larger than it declares", "what is declared")
        if not step and not piece:
            break
    return unpacked


def _bomb(what: str, limit: str) -> DocumentError:
    return DocumentError(
        f"The file {what}, and the limit is {limit}; save it again in its own program if it is to be trusted.",
        reason="zip_bomb",
    )
