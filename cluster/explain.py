"""What pydantic finds wrong with a configuration, as one sentence for people."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SHOWN = (bool, int, float)  # a text may be a secret, or a store's address with one in it


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem, with its key, the value where that is a number, the rule, and the nearest valid word."""
    details = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        valid = _keys_at(model, details["loc"][:-1])
        near = get_close_matches(str(details["loc"][-1]), valid, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"keys here: {', '.join(valid)}."
        return f"there is no key `{key}`; {hint}"
    message = details["msg"].removeprefix("Value error, ") + _what_it_is(details)
    return f"`{key}`: {message}." if key else f"{message}."


def _what_it_is(details: ErrorDetails) -> str:
    given = details["input"]
    if details["type"] == "literal_error" and isinstance(given, str):
        words = [word.strip(" '") for word in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        near = get_close_matches(given, words, n=1)
        return f"; the nearest is `{near[0]}`" if near else ""
    return f", not {given}" if isinstance(given, SHOWN) and details["type"] != "value_error" else ""


def _keys_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
