"""What a job is told, what its stages are told, and the units of work they share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ingest.embedding.base import Address, ServedModel
from ingest.settings import IngestSettings
from ingest.sources.base import SourceFile


@dataclass(frozen=True, slots=True)
class IngestJob:
    """One call of `embedctl ingest`."""

    sources: tuple[str, ...]  # as the user names them
    collection: str  # the alias that searches use
    sink: str = field(repr=False)  # may hold a password
    address: Address
    tenant: str = ""
    prune: bool = False
    recreate: bool = False
    retry_dead: bool = False
    flip: bool = False  # searches go over to a rebuilt collection even if it lacks sources of the old one
    only: frozenset[str] | None = None  # URIs; other files are not looked at
    mask_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StageSetup:
    """Everything an actor needs to do its part, picklable."""

    settings: IngestSettings
    address: Address
    served: ServedModel
    sink_uri: str = field(repr=False)
    physical: str  # the collection behind the alias
    tenant: str
    run_id: str
    mask_secret: str = field(default="", repr=False)
    store_was_empty: bool = False  # nothing was in the collection when the run began, so nothing need be looked up


class Sealed:
    """Hands a setup to Ray's actors. Ray writes what dataclasses hold into its statistics, secrets included; of this
    it sees a name.
    """

    def __init__(self, setup: StageSetup) -> None:
        self._setup = setup

    def __repr__(self) -> str:
        return "Sealed(StageSetup)"

    def open(self) -> StageSetup:
        return self._setup


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """One task of the first stage: a file, or one of the spans that a large corpus file was split into."""

    file: SourceFile
    source: str  # the file's identity, tenant included

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkUnit:
        content: dict[str, Any] = json.loads(text)
        file = content["file"]
        if file["span"] is not None:
            file["span"] = tuple(file["span"])
        return cls(SourceFile(**file), content["source"])
