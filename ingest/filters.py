"""Metadata filters: a small language for people, and the conditions every sink renders into its own.

    page_number >= 3 and source_file = 'contracts/lease.pdf'

A filter is one or more conditions joined by `and`. A value is a quoted string ('…' or "…", where a backslash
escapes the quote and itself), an integer, or a bare word. Only integers have an order; text can be equal or not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, cast, get_args

from serve_app.core.errors import InvalidRequest

Operator = Literal["=", "!=", ">", ">=", "<", "<="]
TEXT_FIELDS = ("source_file", "format", "title", "section_title", "chunk_id")
INTEGER_FIELDS = ("page_number", "ordinal", "tokens")
FIELDS = (*TEXT_FIELDS, *INTEGER_FIELDS)
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


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with a stored field; raises InvalidRequest unless field, operator and value fit together.

    A chunk without a page matches no condition on `page_number`, not even `!=`.
    """

    field: str
    op: Operator
    value: str | int

    def __post_init__(self) -> None:
        if self.field not in FIELDS:
            _refuse(f"has an unknown field{_nearest(self.field)}; the fields are {', '.join(FIELDS)}.")
        if self.op not in _OPERATORS:
            _refuse(f"has an unknown operator after `{self.field}`; the operators are {' '.join(_OPERATORS)}.")
        if self.field in INTEGER_FIELDS and (isinstance(self.value, str) or self.value not in _INT64):
            _refuse(f"compares `{self.field}` with something else than a 64-bit integer, such as 3 (without quotes).")
        if self.field in TEXT_FIELDS and not isinstance(self.value, str):
            _refuse(f"compares `{self.field}` with a number; put the value in quotes.")
        if self.field in TEXT_FIELDS and self.op not in ("=", "!="):
            _refuse(f"orders `{self.field}`, which is text; use = or != there, or one of {', '.join(INTEGER_FIELDS)}.")


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
    is_integer = field.text in INTEGER_FIELDS and value.kind == "word" and _INTEGER.fullmatch(value.text)
    op = "=" if operator.text == "==" else operator.text
    # An unknown operator passes here, because Condition is the one place that refuses it.
    return Condition(field.text, cast("Operator", op), int(value.text) if is_integer else value.text)


def _nearest(field: str) -> str:
    close = difflib.get_close_matches(field.lower(), FIELDS, n=1, cutoff=0.5)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _refuse(what: str) -> NoReturn:
    raise InvalidRequest(f"`filter` {what}", param="filter")
