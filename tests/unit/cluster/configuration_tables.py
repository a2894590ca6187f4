"""The tables of docs/configuration.md, made from the models. Run it as a module to write them anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cluster.config import ClusterConfig

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"
WORDS = {"None": "unset", "": "unset", "True": "true", "False": "false", "()": "none", "{}": "none"}


def tables() -> str:
    """One table for the keys at the top and one for every section below."""
    return "\n\n".join(_section(name, model) for name, model in _sections("", ClusterConfig)) + "\n"


def written() -> str:
    """What the page has between its marks."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def _sections(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield prefix, model
    for name, field in model.model_fields.items():
        inner, is_list = _section_of(field.annotation)
        if inner is not None:
            yield from _sections(f"{prefix}{name}{'[]' if is_list else ''}.", inner)


def _section_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """(the model a field holds, whether it holds a list of them)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    found = [_section_of(argument)[0] for argument in get_args(annotation) if get_origin(annotation) is not dict]
    return next((model for model in found if model is not None), None), get_origin(annotation) is tuple


def _section(prefix: str, model: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {_default(field)} | {_meaning(field)} |" for name, field in model.model_fields.items()]
    title = f"### `{prefix.rstrip('.')}`\n\n" if prefix else ""
    return "\n".join([f"{title}| key | default | what it does |", "|---|---|---|", *rows])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if _section_of(field.annotation)[0] is not None:
        return "unset" if field.default is None else "below"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple | dict) and value:
        return ", ".join(map(str, value))
    return WORDS.get(str(value), f"{value:,g}" if isinstance(value, float) else str(value))


def _meaning(field: FieldInfo) -> str:
    is_section = _section_of(field.annotation)[0] is not None
    words = [
        (field.description or ("Keys of its own." if is_section else "")).replace("|", "\\|"),
        _choices(field.annotation),
        _bounds(field),
    ]
    return " ".join(word for word in words if word)


def _choices(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "One of " + ", ".join(f"`{value}`" for value in get_args(annotation)) + "."
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return next((choice for part in parts if (choice := _choices(part))), "")


def _bounds(field: FieldInfo) -> str:
    """The limits of a number, as in `(1 to 16)`."""
    limits = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)
    }
    lower = f"from {limits['ge']}" if "ge" in limits else f"above {limits['gt']}" if "gt" in limits else ""
    upper = f"to {limits['le']}" if "le" in limits else ""
    return f"({' '.join(word for word in (lower, upper) if word)})" if limits else ""


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
