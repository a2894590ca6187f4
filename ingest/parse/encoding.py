"""Bytes → text, whatever encoding they were written in."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from serve_app.core.errors import DocumentError

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = ["gb18030", "big5hkscs", "cp949", "cp932", "euc_jp", "cp1252", "cp1250", "cp1251"]
_SAMPLE_BYTES = 64 * 1024
_WESTERN = set("àâäáãåæçèéêëìíîïñòóôöõøœùúûüÿßÀÂÄÅÆÇÈÉÊËÎÏÑÓÔÖØŒÙÛÜ€£§°«»–—‘’“”„…·©®")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(content: bytes) -> str:
    """Text with `\\n` line ends, from its byte-order mark, UTF-8, or the likeliest older encoding.

    Raises DocumentError(reason="wrong_format") for bytes that are not text.
    """
    text = _decoded(content)
    if len(_CONTROL.findall(text)) * 100 > len(text):
        raise DocumentError("The content is binary, not text; check the file's extension.", reason="wrong_format")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    wide = _wide_encoding(content[:_SAMPLE_BYTES])
    if wide is not None:
        return content.decode(wide, errors="replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _damaged_utf8(content) or content.decode(_older_encoding(content), errors="replace")


def _wide_encoding(sample: bytes) -> str | None:
    """UTF-16 without its mark: nearly every second byte of Western text is zero, and none of the others is."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(sample) < 16 or max(even, odd) * 4 < len(sample) or min(even, odd) * 50 > len(sample):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _damaged_utf8(content: bytes) -> str | None:
    """Text with a few broken characters; other encodings hardly ever contain whole UTF-8 sequences by chance."""
    text = content.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    whole = sum(character > "\x7f" for character in text) - broken
    return text if whole > 10 * broken else None


def _older_encoding(content: bytes) -> str:
    sample = content[:_SAMPLE_BYTES]
    sample = sample[: sample.rfind(b"\n") + 1] or sample  # do not end within a character
    if len(sample) < 32 and _is_simplified_chinese(sample):
        return "gb18030"  # statistics know too little about a few characters
    best = from_bytes(sample, cp_isolation=_LEGACY).best()
    if best is not None:
        return "cp1252" if best.encoding == "cp1250" and _is_western(sample) else best.encoding
    if sample.decode("gb18030", errors="replace").count("\ufffd") * 100 < len(sample):
        return "gb18030"  # with a few broken characters
    raise DocumentError("The content is in no known text encoding; save it as UTF-8.", reason="wrong_format")


def _is_simplified_chinese(sample: bytes) -> bool:
    try:
        sample.decode("gb2312")
    except UnicodeDecodeError:
        return False
    return True


def _is_western(sample: bytes) -> bool:
    """Statistics confuse Western with Central European text; the letters of the latter would give odd signs here."""
    text = sample.decode("cp1252", errors="replace")
    return {character for character in text if character > "\x7f"} <= _WESTERN
