"""A running cluster follows its configuration file: what may change while it runs, and what needs a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cluster.config import ClusterConfig
from serve_app.core.errors import SetupError
from serve_app.settings import LiveSettings

LIVE_KEYS = frozenset(LiveSettings.model_fields)  # keys of the same names at the top of cluster.yaml
Stamp = tuple[int, int, int] | None  # (mtime in ns, inode, size); None: there is no file


@dataclass(frozen=True, slots=True)
class Change:
    """What a changed file asks for. `config` is the running configuration with the live part of the new one."""

    config: ClusterConfig
    live: tuple[str, ...]  # dotted keys that can be applied at once
    fixed: tuple[str, ...]  # dotted keys that count after a restart only


class ConfigWatch:
    """Looks at the file of a running cluster. `load` gives the whole configuration, command line options included."""

    def __init__(self, path: Path, running: ClusterConfig, load: Callable[[], ClusterConfig]) -> None:
        self.path = path
        self._running = running
        self._load = load
        self._known = self._seen = _stamp(path)

    def look(self) -> Change | None:
        """The change since the last one, once the file has rested for the time between two looks: an editor may
        write it in several steps, and half a file is often a valid one. Raises SetupError, once, for a broken file.
        """
        before, self._seen = self._seen, _stamp(self.path)
        if self._seen == self._known or self._seen != before:
            return None
        self._known = self._seen
        change = compare(self._running, self._load())
        return change if change.live or change.fixed else None

    def applied(self, change: Change) -> None:
        """From now on the cluster runs with the change's configuration."""
        self._running = change.config


def compare(running: ClusterConfig, wanted: ClusterConfig) -> Change:
    """What lies between two configurations."""
    keys = list(_differences("", running.model_dump(), wanted.model_dump()))
    live = tuple(key for key in keys if key.partition(".")[0] in LIVE_KEYS)
    update = {name: getattr(wanted, name) for name in LIVE_KEYS}
    return Change(running.model_copy(update=update), live, tuple(key for key in keys if key not in live))


def follow(watch: ConfigWatch, apply: Callable[[ClusterConfig], None], say: Callable[[str], None]) -> None:
    """One look and what follows from it. Trouble is said and never raised: the cluster runs on as it is."""
    name = watch.path.name
    try:
        change = watch.look()
        if change is None:
            return
        if change.fixed:
            say(f"{name} changed; restart to apply: {', '.join(change.fixed)}")
        if change.live:
            apply(change.config)
            watch.applied(change)
            say(f"Applied {name}: {_spoken(change.live)}")
    except SetupError as error:
        say(f"{name} was not applied, the settings stay as they are: {error.message}")


def _spoken(keys: tuple[str, ...]) -> str:
    """`presets.legal` and `presets.faq` as people say it: presets legal, faq."""
    groups = groupby((key.partition(".") for key in keys), key=lambda parts: parts[0])
    return "; ".join(f"{group} {', '.join(name for _, _, name in members)}".rstrip() for group, members in groups)


def _differences(prefix: str, old: object, new: object) -> Iterator[str]:
    """Dotted keys below which the values differ; whole lists where their lengths do."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(f"{prefix}.{key}" if prefix else str(key), old.get(key), new.get(key))
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{prefix}.{index}", left, right)
    else:
        yield prefix


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
