"""What a run has to do: pure arithmetic on what was found and what the ledger knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ingest.ledger.records import SourceState
from ingest.sources.base import Discovery, SourceFile
from ingest.tenancy import identity, uri_of


@dataclass(frozen=True, slots=True)
class Plan:
    """Sources are named by their identity, the tenant included."""

    todo: dict[str, SourceFile]
    unchanged: tuple[str, ...]
    known_dead: tuple[str, ...]  # failed for good in this very version
    gone: tuple[str, ...]  # stored, within the reach of this run, and no longer there


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger remembers, by identity."""

    committed: Mapping[str, SourceState]
    dead: Mapping[str, str]  # version of what failed for good
    retried: Collection[str]  # to be done again whatever their version: a part of them failed, and may not any more


def make_plan(found: Discovery, tenant: str, versions: Mapping[str, str], known: Known) -> Plan:
    """`versions` are by URI; a file without one could not be read."""
    todo: dict[str, SourceFile] = {}
    unchanged, known_dead = [], []
    for file in found.files:
        source, version = identity(tenant, file.uri), versions.get(file.uri)
        state = known.committed.get(source)
        if source in known.retried:
            todo[source] = file
        elif version is not None and known.dead.get(source) == version:  # before the next: a part of it may be stored
            known_dead.append(source)
        elif state is not None and state.version == version:
            unchanged.append(source)
        else:
            todo[source] = file
    remembered = dict.fromkeys((*known.committed, *known.dead, *known.retried))
    return Plan(todo, tuple(unchanged), tuple(known_dead), gone_of(found, tenant, remembered))


def gone_of(found: Discovery, tenant: str, remembered: Iterable[str]) -> tuple[str, ...]:
    """Those remembered that would have been found if they were still there.

    A root under which nothing at all was found says nothing: its disk may not be mounted. Nor does a web address.
    """
    present = {identity(tenant, file.uri) for file in found.files}
    alive = {file.root for file in found.files}
    look = replace(found, roots=tuple(root for root in found.roots if root in alive))
    return tuple(source for source in remembered if source not in present and _is_covered(look, tenant, source))


def _is_covered(found: Discovery, tenant: str, source: str) -> bool:
    uri = uri_of(tenant, source)
    return uri is not None and not uri.startswith(("http://", "https://")) and found.covers(uri)
