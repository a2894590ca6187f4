"""In which keys two versions of the application's settings differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serve_app.settings import AppSettings

LIVE = "live."  # not a word of the configuration: there, `presets` and `limits` stand at the top


def changed_keys(before: AppSettings, after: AppSettings) -> tuple[str, ...]:
    """Dotted keys as the configuration spells them, without values: those may be instructions or names of files."""
    old, new = (dict(_leaves(settings.model_dump(mode="json"))) for settings in (before, after))
    keys = (key for key in {**old, **new} if old.get(key) != new.get(key))
    return tuple(key.removeprefix(LIVE) for key in keys)


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = {str(index): item for index, item in enumerate(value)}.items()
    else:
        yield key, value
        return
    for name, item in inner:
        yield from _leaves(item, f"{key}.{name}" if key else str(name))
