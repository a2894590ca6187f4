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
    sink: str
    address: Address
    tenant: str = ""
    prune: bool = False
    recreate: bool = False
    retry_dead: bool = False
    only: frozenset[str] | None = None  # URIs; other files are not looked at
    mask_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StageSetup:
    """Everything an actor needs to do its part, picklable."""

    settings: IngestSettings
    address: Address
    served: ServedModel
    sink_uri: str
    physical: str  # the collection behind the alias
    tenant: str
    run_id: str
    mask_secret: str = field(default="", repr=False)


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
