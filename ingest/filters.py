"""Metadata filters: a small language for people, and the conditions every sink renders into its own.

    page_number >= 3 and source_file = 'contracts/lease.pdf' and meta.department = 法务 and meta.year > 2023

A filter is one or more conditions joined by `and`. A value is a quoted string ('…' or "…", where a backslash
escapes the quote and itself), an integer, or a bare word. Only numbers have an order; text can be equal or not.
What users said about a document stands under `meta.NAME`, and there a bare true, false or number is what it looks
like: `meta.code = '7'` compares text, `meta.code = 7` a number. The whole heading path is written with ` > ` between
its headings: `heading_path = 'Lease > Rent'`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, cast, get_args

from ingest.records import PATH_MARK, Scalar
from serve_app.core.errors import InvalidRequest

Operator = Literal["=", "!=", ">", ">=", "<", "<="]
TEXT_FIELDS = (
    "source_file",
    "format",
    "title",
    "heading_path",
    "section_title",
    "chunk_id",
    "language",
    "source",
    "part",
    "file_hash",
    "run_id",
)
PAGE_FIELDS = ("page_number", "page_end")
INTEGER_FIELDS = (*PAGE_FIELDS, "ordinal", "tokens")
FIELDS = (*TEXT_FIELDS, *INTEGER_FIELDS)
META = "meta."
HEADING_PATH = "heading_path"
MAX_CHARACTERS = 4_096

_OPERATORS: tuple[Operator, ...] = get_args(Operator)
_INT64 = range(-(2**63), 2**63)
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator> [=!<>]+ )
      | '(?P<single> (?: [^'\\] | \\. )* )'
      | "(?P<double> (?: [^"\\] | \\. )* )"
      | (?P<word> [^\s'"=!<>]+ )
    )""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,19}\.[0-9]{1,19}")
_META_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with a stored field; raises InvalidRequest unless field, operator and value fit together.

    A chunk that lacks the field, or holds another kind of value there, meets no condition on it, not even `!=`.
    """

    field: str
    op: Operator
    value: Scalar

    def __post_init__(self) -> None:
        if self.field.startswith(META):
            self._check_metadata()
        else:
            self._check_column()

    @property
    def metadata_name(self) -> str | None:
        """The user's own name of the field; None for one that every chunk has."""
        return self.field.removeprefix(META) if self.field.startswith(META) else None

    @property
    def headings(self) -> list[str]:
        """The value of a condition on the heading path, from the outermost heading on."""
        return str(self.value).split(PATH_MARK) if self.value else []

    def _check_operator(self) -> None:
        if self.op not in _OPERATORS:
            _refuse(f"has an unknown operator after `{self.field}`; the operators are {' '.join(_OPERATORS)}.")

    def _check_column(self) -> None:
        if self.field not in FIELDS:
            _refuse(f"has an unknown field{_nearest(self.field)}; the fields are {', '.join(FIELDS)}, {META}NAME.")
        self._check_operator()
        if self.field in INTEGER_FIELDS and (type(self.value) is not int or self.value not in _INT64):
            _refuse(f"compares `{self.field}` with something else than a 64-bit integer, such as 3 (without quotes).")
        if self.field in TEXT_FIELDS and not isinstance(self.value, str):
            _refuse(f"compares `{self.field}` with a number; put the value in quotes.")
        if self.field in TEXT_FIELDS and self.op not in ("=", "!="):
            _refuse(f"orders `{self.field}`, which is text; use = or != there, or one of {', '.join(INTEGER_FIELDS)}.")

    def _check_metadata(self) -> None:
        if not _META_NAME.fullmatch(self.field.removeprefix(META)):
            _refuse(f"has a name after `{META}` that is not of letters, digits and _, at most 64, no digit first.")
        self._check_operator()
        if isinstance(self.value, float) and not math.isfinite(self.value):
            _refuse(f"compares `{self.field}` with a number that is not finite.")
        if type(self.value) is int and self.value not in _INT64:
            _refuse(f"compares `{self.field}` with an integer of more than 64 bits.")
        if isinstance(self.value, str | bool) and self.op not in ("=", "!="):
            _refuse(f"orders `{self.field}` by text or truth; use = or != there, or a number without quotes.")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["operator", "quoted", "word"]
    text: str


def parse_filter(text: str) -> tuple[Condition, ...]:
    """The conditions of a filter, in order, all of which a hit must meet. Raises InvalidRequest (`filter`)."""
    if len(text) > MAX_CHARACTERS:
        _refuse(f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed.")
    tokens = tuple(_tokens(text))
    if len(tokens) % 4 != 3:  # three for every condition and an `and` between two of them
        _refuse("is not `field operator value [and field operator value …]`; a value with spaces needs quotes.")
    if any(token.kind != "word" or token.text.lower() != "and" for token in tokens[3::4]):
        _refuse("joins conditions with something else than `and`; a value with spaces needs quotes.")
    return tuple(_condition(*tokens[start : start + 3]) for start in range(0, len(tokens), 4))


def _tokens(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse(f"has a quote that is not closed, at character {position + 1}.")
        if match.lastgroup in ("single", "double"):
            yield _Token("quoted", _unescape(match[match.lastgroup]))
        else:
            yield _Token("operator" if match["operator"] else "word", match["operator"] or match["word"])
        position = match.end()


def _unescape(quoted: str) -> str:
    return re.sub(r"\\(.)", _escaped, quoted, flags=re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    # Guessing would turn the Windows path 'C:\new' into another one in silence.
    if match[1] not in "\\'\"":
        _refuse(r"has an unknown escape; write \\ for a backslash, \' and \" for quotes.")
    return match[1]


def _condition(field: _Token, operator: _Token, value: _Token) -> Condition:
    if field.kind != "word" or operator.kind != "operator" or value.kind == "operator":
        _refuse("has something else than `field operator value` where a condition should be.")
    op = "=" if operator.text == "==" else operator.text
    # An unknown operator passes here, because Condition is the one place that refuses it.
    return Condition(field.text, cast("Operator", op), _value(field.text, value))


def _value(field: str, token: _Token) -> Scalar:
    if token.kind == "quoted" or field in TEXT_FIELDS:
        return token.text
    if _INTEGER.fullmatch(token.text):
        return int(token.text)
    if field.startswith(META) and _DECIMAL.fullmatch(token.text):
        return float(token.text)
    if field.startswith(META) and token.text.lower() in ("true", "false"):
        return token.text.lower() == "true"
    return token.text


def _nearest(field: str) -> str:
    close = [known for known in FIELDS if known.startswith(field.lower())]
    close = close or difflib.get_close_matches(field.lower(), FIELDS, n=1, cutoff=0.5)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _refuse(what: str) -> NoReturn:
    raise InvalidRequest(f"`filter` {what}", param="filter")
