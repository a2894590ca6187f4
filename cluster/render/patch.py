"""The difference of two documents as operations of RFC 6902, which kustomize applies to objects of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def difference(old: Any, new: Any, path: str = "") -> Iterator[Operation]:
    """What turns `old` into `new`. Lists of different length are replaced as a whole: that stays readable."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _member(old, new, key, f"{path}/{_escaped(key)}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from difference(one, other, f"{path}/{index}")
    elif old != new or type(old) is not type(new):
        yield {"op": "replace", "path": path, "value": new}


def _member(old: dict[str, Any], new: dict[str, Any], key: str, path: str) -> Iterator[Operation]:
    if key not in new:
        yield {"op": "remove", "path": path}
    elif key not in old:
        yield {"op": "add", "path": path, "value": new[key]}
    else:
        yield from difference(old[key], new[key], path)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
