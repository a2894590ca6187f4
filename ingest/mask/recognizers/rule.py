"""What one entity looks like: data only, so that the rules can be read and tested without the engine that runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# `SN-138…` and `20240301-138…` are serial numbers; a dash behind a longer number parts two values.
NO_ALNUM_BEFORE = r"(?<![0-9A-Za-z_])(?<![A-Za-z]-)(?<!(?<![0-9])[0-9]{1,9}-)"
NO_ALNUM_AFTER = r"(?![0-9A-Za-z])"

# Words before a number of almost any kind that say it is not a person's.
SERIAL_WORDS = (
    *("订单", "单号", "流水", "序列号", "编号", "货号", "批号", "批次", "条码", "工单", "版本", "型号", "料号", "物料"),
    *(
        "order",
        "serial",
        "sku",
        "invoice",
        "tracking",
        "ticket",
        "batch",
        "barcode",
        "part",
        "lot",
        "model",
        "revision",
    ),
    *("isbn", "imei", "iccid", "build", "version", "s/n", "sn"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A regular expression in the `regex` module's dialect, for text whose width is unified (`ingest.mask.width`).

    It must not match a line break, and must take time linear in the text: every repetition is bounded, and a match can
    begin at few places only. `score` is how sure a match alone makes us, from 0 to 1.
    """

    name: str
    pattern: str
    score: float


def canonical_letters_and_digits(value: str) -> str:
    """Only letters and digits, in upper case: the same for all ways to space and group a value."""
    return "".join(letter for letter in value if letter.isalnum()).upper()


@dataclass(frozen=True, slots=True)
class Rule:
    """How one entity is found, compared and shown.

    `check` sees a match and says True (certain), False (not it) or None (the shape's score stands). `context` are words
    that near a match raise its score, `against` words that lower it; the nearer one counts. `canonical` gives the text
    that all spellings of one value share. A mask shows the `first` and `last` letters and digits of that text, unless
    `mask` says how to write it; it must never show all. A rule without shapes is one that Presidio brings along.
    """

    entity: str
    shapes: tuple[Shape, ...] = ()
    check: Callable[[str], bool | None] = lambda _: None
    context: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    canonical: Callable[[str], str] = canonical_letters_and_digits
    first: int = 0
    last: int = 0
    mask: Callable[[str], str] | None = None
