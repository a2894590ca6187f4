"""Why a file is left out: the words that parsing puts into `DocumentError.reason`, each with what it means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from serve_app.core.errors import DocumentError

Reason = Literal[
    "empty",
    "corrupt",
    "encrypted",
    "wrong_format",
    "old_format",
    "unsupported",
    "too_large",
    "zip_bomb",
    "needs_ocr",
    "timeout",
    "crashed",
    "bad_metadata",
]
MEANINGS: dict[Reason, str] = {
    "empty": "nothing in it, or nothing that a reader would see",
    "corrupt": "damaged or cut off",
    "encrypted": "protected by a password",
    "wrong_format": "the content is in another format than the name says, and in none that can be read",
    "old_format": "Office 97 or RTF; save it in the format of today",
    "unsupported": "the chosen parser does not read this format",
    "too_large": "above a limit that the message names, or more than the memory of one file allows",
    "zip_bomb": "an archive that unpacks to far more than it can honestly hold",
    "needs_ocr": "pages that are pictures, and OCR is off or not installed",
    "timeout": "parsing took longer than `timeout_s`",
    "crashed": "the parser died on it; the file itself may be fine",
    "bad_metadata": "front matter that is no flat YAML mapping",
}


def unsupported(parser: str, format_: str, readable: Iterable[str]) -> DocumentError:
    return DocumentError(
        f"The parser {parser} reads {', '.join(sorted(readable))}, not {format_}; set parse.parser to builtin for it.",
        reason="unsupported",
    )
