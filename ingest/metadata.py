"""What users say about a document: front matter at its top, or a file `NAME.meta.yaml` / `NAME.meta.json` beside it.

Fields are flat: text, numbers, true and false. A date becomes text in ISO 8601, a list one text with commas, and a
field without a value is left out. YAML is read by its version 1.1, where a bare `no` is false and a bare 1:30 is
ninety; quotes make them text. A hyphen in a name becomes an underscore, so that filters can name every field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import NoReturn

import yaml

from ingest.filters import FIELDS
from ingest.records import Document, Scalar
from serve_app.core.errors import DocumentError

SIDECAR_SUFFIXES = (".meta.yaml", ".meta.json")
MAX_FIELDS = 64
MAX_VALUE_BYTES = 1_024  # UTF-8
MAX_METADATA_BYTES = 60_000  # all fields of a document, as JSON
MAX_BYTES = 131_072  # of front matter or sidecar; all fields at their limits are less
OWN_FIELDS = ("title", "language")  # built-in fields that a document may say about itself

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_INT64 = range(-(2**63), 2**63)
_MAX_DEPTH = 2  # a mapping, and lists in it
# A rule of three hyphens opens plain Markdown too; front matter has a field right behind it.
_OPENING = re.compile(r"\A\ufeff?---[ \t]*\r?\n(?:#.*\n)*(?=[\"']?\w[\w -]{0,80}[\"']?:\s)")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\r?\Z)", re.MULTILINE)
_FRONT_MATTER = "Its front matter"


def split_front_matter(text: str) -> tuple[dict[str, Scalar], str]:
    """The fields at the top of a text, and the text behind them.

    Without front matter, no fields and the text as it is. Raises DocumentError (bad_metadata).
    """
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text, opening.end(), MAX_BYTES) if opening else None
    if opening is None or closing is None:
        return {}, text
    found = _from_yaml(text[text.index("\n") + 1 : closing.start()], _FRONT_MATTER)
    return (_flat(found, _FRONT_MATTER), text[closing.end() :]) if isinstance(found, dict) else ({}, text)


def read_sidecar(content: bytes, name: str) -> dict[str, Scalar]:
    """The fields of a sidecar file; `name` says whether it is YAML or JSON. Raises DocumentError (bad_metadata)."""
    if len(content) > MAX_BYTES:
        _refuse(name, f"has {len(content)} bytes; at most {MAX_BYTES} are allowed")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        _refuse(name, "is not encoded in UTF-8; save it as UTF-8")
    found = _from_json(text, name) if name.endswith(".json") else _from_yaml(text, name)
    if found is not None and not isinstance(found, dict):
        _refuse(name, "is not a mapping of names to values; write one `name: value` a line")
    return _flat(found or {}, name)


def merge(front: Mapping[str, Scalar], sidecar: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The fields of both; the sidecar's win. Raises DocumentError (bad_metadata) if there are too many."""
    both = {**front, **sidecar}
    if len(both) > MAX_FIELDS:
        _refuse("Its front matter and sidecar together", f"have {len(both)} fields; at most {MAX_FIELDS} are allowed")
    return both


def check_size(metadata: Mapping[str, Scalar]) -> None:
    """Raises DocumentError (bad_metadata) for more than a store keeps in one column."""
    size = len(json.dumps(dict(metadata), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > MAX_METADATA_BYTES:
        _refuse("The metadata of this document", f"has {size} bytes in all; at most {MAX_METADATA_BYTES} are allowed")


def described(document: Document, fields: Mapping[str, Scalar]) -> Document:
    """The document with what users say about it: OWN_FIELDS in their own places, the others as metadata.

    Raises DocumentError (bad_metadata) if `language` is no ISO 639-1 code.
    """
    language = str(fields.get("language", document.language)).partition("-")[0].lower()
    if "language" in fields and not re.fullmatch("[a-z]{2}", language):
        _refuse(
            "The metadata of this file", "has a `language` that is no ISO 639-1 code; write two letters, such as zh"
        )
    metadata = {name: value for name, value in fields.items() if name not in OWN_FIELDS}
    return replace(document, title=str(fields.get("title", document.title)), language=language, metadata=metadata)


def _from_yaml(text: str, where: str) -> object:
    """What the YAML says; nothing that expands or nests is even built."""
    try:
        _check_structure(text, where)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        _refuse(where, f"is not valid YAML{f' (line {mark.line + 1})' if mark else ''}; quote values that have a colon")
    except (ValueError, OverflowError):
        _refuse(where, "has a date or number that does not exist; put it in quotes if it is text")


def _check_structure(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        is_tagged = isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None
        if depth > _MAX_DEPTH or is_tagged or isinstance(event, yaml.AliasEvent):
            _refuse(where, "nests, refers to itself or has type tags; write flat `name: value` fields")


def _from_json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(where, f"is not valid JSON (line {error.lineno})")
    except (ValueError, RecursionError):
        _refuse(where, "has a number too long to read, or nests too deep; write flat fields")


def _flat(found: Mapping[object, object], where: str) -> dict[str, Scalar]:
    if len(found) > MAX_FIELDS:
        _refuse(where, f"has {len(found)} fields; at most {MAX_FIELDS} are allowed")
    fields = {_name(name, where): value for name, value in found.items()}
    return {name: _value(value, name, where) for name, value in fields.items() if value not in (None, [])}


def _name(name: object, where: str) -> str:
    plain = str(name).replace("-", "_")
    if not _NAME.fullmatch(plain):
        # What is no name by any measure may be a sentence of the document, and is not repeated.
        shown = f"`{plain}`" if re.fullmatch(r"\w{1,64}", plain) else "with a very odd name"
        _refuse(where, f"has a field {shown}; names are at most 64 Latin letters, digits and _, no digit first")
    if plain in FIELDS and plain not in OWN_FIELDS:
        _refuse(where, f"has a field `{plain}`, which is built in; give it another name")
    return plain


def _value(value: object, name: str, where: str) -> Scalar:
    if isinstance(value, list):
        value = ", ".join(_word(item, name, where) for item in value)
    if isinstance(value, date):
        value = value.isoformat()
    if isinstance(value, str):
        return _text(value, name, where)
    if not isinstance(value, bool | int | float):
        _refuse(where, f"has more than one value in `{name}`; write text, a number, true, false, a date or a list")
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and value not in _INT64):
        _refuse(where, f"has a number in `{name}` that is not finite or beyond 64 bits; put it in quotes")
    return value


def _word(item: object, name: str, where: str) -> str:
    if isinstance(item, list | dict):
        _refuse(where, f"has a list within a list in `{name}`; write one list of plain values")
    value = _value("" if item is None else item, name, where)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: str, name: str, where: str) -> str:
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > MAX_VALUE_BYTES:
        _refuse(where, f"has {size} bytes in `{name}`; at most {MAX_VALUE_BYTES} are allowed")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        _refuse(where, f"has characters in `{name}` that no store takes (NUL or half of a pair)")
    return value


def _refuse(where: str, what: str) -> NoReturn:
    raise DocumentError(f"{where} {what}.", reason="bad_metadata")
