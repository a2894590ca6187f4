"""The collection behind an alias: made for one fingerprint, built beside the old one, and flipped to when complete."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.fingerprint import Fingerprint
from ingest.ledger.lease import Lease
from ingest.ledger.ledger import Ledger
from ingest.ledger.records import CollectionStage
from ingest.sinks.base import CollectionSpec, VectorSink
from serve_app.core.errors import SetupError

MARK_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class Target:
    alias: str
    physical: str
    live: str  # what the alias stands for while this run writes; the same as `physical` unless it is a rebuild
    was_empty: bool  # no chunk was in `physical` when it was opened

    @property
    def is_rebuild(self) -> bool:
        return self.live != self.physical


def physical_name(alias: str, fingerprint: Fingerprint) -> str:
    """The same fingerprint always leads to the same collection, so an interrupted rebuild goes on where it stopped."""
    return f"{alias}__{fingerprint.value[:MARK_CHARACTERS]}"


def open_target(sink: VectorSink, ledger: Ledger, alias: str, fingerprint: Fingerprint, spec: CollectionSpec) -> Target:
    """Make the collection that `spec` describes, unless it is there; searches use it at once if the alias is new.

    Raises SetupError if the alias is the name of a collection that is not ours.
    """
    names = sink.names()
    if alias in names:
        raise SetupError(
            f"The store has a collection that is itself called `{alias}`, so there can be no alias of that name: "
            "choose another --collection."
        )
    sink.ensure(spec)
    live = sink.target_of(alias)
    if live is None:
        sink.point(alias, spec.name)
        live = spec.name
    _, remembered = ledger.totals(spec.name)
    stored = sink.count(spec.name)
    if stored < remembered:  # the store has been emptied, restored or tampered with: look at every file
        ledger.doubt(spec.name)
    state: CollectionStage = "live" if live == spec.name else "building"
    ledger.remember_collection(alias, spec.name, fingerprint.to_json(), state)
    return Target(alias, spec.name, live, stored == 0)


def drop_all(sink: VectorSink, ledger: Ledger, alias: str) -> None:
    """Every collection that was made for the alias."""
    known = {state.physical for state in ledger.collections(alias)}
    for name in sink.names():
        if name in known or name == sink.target_of(alias):
            sink.drop(name)
    for physical in known:
        ledger.forget_collection(physical)


def flip(sink: VectorSink, ledger: Ledger, lease: Lease, target: Target, fingerprint: Fingerprint) -> None:
    """From now on searches use the new collection; the old one stays until it is dropped."""
    lease.check()
    sink.point(target.alias, target.physical)
    ledger.remember_collection(target.alias, target.physical, fingerprint.to_json(), "live")


def not_covered(ledger: Ledger, target: Target) -> list[str]:
    """Sources that searches find now and would not find after a flip."""
    new = ledger.sources(target.physical)
    return [source for source in ledger.sources(target.live) if source not in new]
