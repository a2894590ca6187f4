"""One width for all digits, letters and punctuation, with the way back to the original positions."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

TOKEN = re.compile(r"<[A-Z][A-Z_]{1,30}:[0-9a-f]{12}>")
INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)  # pasted along with numbers
PLACEHOLDER = "\x1f"


def _unified(letter: str) -> str:
    """The same character in its common width: one for one, so that positions stay."""
    category = unicodedata.category(letter)
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    kind, _, _ = unicodedata.decomposition(letter).partition(" ")
    # Not all of NFKC: circled and raised numbers are marks beside a number, and would become its digits.
    return unicodedata.normalize("NFKC", letter) if kind in {"<wide>", "<narrow>"} else letter


def _table() -> dict[int, str]:
    codes = (*range(0x80, 0x10000), *range(0x1D7CE, 0x1D800))  # the second: digits of mathematical fonts
    pairs = ((code, _unified(chr(code))) for code in codes)
    return {code: new for code, new in pairs if new != chr(code) and len(new) == 1} | {0x2212: "-"}


TABLE = _table()


@dataclass(frozen=True, slots=True)
class Unified:
    """`text` is what is searched; `origins[i]` is where its i-th character stood, None where nothing has moved."""

    text: str
    origins: list[int] | None

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]`, which is not empty, stands in the original."""
        if self.origins is None:
            return start, end
        return self.origins[start], self.origins[end - 1] + 1


def unify(text: str) -> Unified:
    """Full-width forms, dashes, spaces and foreign digits made common, invisible marks left out, tokens blanked.

    Tokens of an earlier masking are not text any more: nothing may be found in them.
    """
    text = TOKEN.sub(lambda token: PLACEHOLDER * len(token[0]), text)
    if not INVISIBLE.search(text):
        return Unified(text.translate(TABLE), None)
    origins = [position for position, letter in enumerate(text) if not INVISIBLE.match(letter)]
    return Unified("".join(text[position] for position in origins).translate(TABLE), origins)
