"""What decides what is stored for a file, as one short value; and what a stored chunk looks like, as another.

A collection is made under one fingerprint. Under another one the same file would give other chunks or vectors, so it
goes into a new collection. Settings that decide only how fast or how patiently the work is done are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version

from ingest.chunk import CHUNKER_VERSION
from ingest.embedding.base import ServedModel
from ingest.records import Chunk
from ingest.settings import IngestSettings, ParserName
from serve_app.core.errors import SetupError

PARSER_VERSION = "2"  # to be raised when `ingest.parse` or `ingest.language` reads the same file in another way
_DISTRIBUTIONS: dict[ParserName, tuple[str, ...]] = {
    "unstructured": ("unstructured",),
    "docling": ("docling", "docling-slim"),
}
_DIGITS = 16
_SECRET = frozenset({"mask"})  # what it says about keys is for comparing, not for showing
_LABELS = {
    "parser": "the parser",
    "parser version": "the parser's version",
    "chunker": "the chunker's version",
    "mask": "the masking of personal data",
    "model": "the model",
    "weights": "the model's weights, tokenizer, pooling or dtype",
    "dimensions": "the size of the vectors",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Named components, each as text; two that are equal store the same for the same file."""

    components: Mapping[str, str]

    @property
    def value(self) -> str:
        """16 hex characters, the same in every process."""
        return _digest(sorted(self.components.items()))

    def to_json(self) -> str:
        return json.dumps(dict(sorted(self.components.items())))

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Raises ValueError if the text is not what `to_json` gives."""
        found = json.loads(text)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("A fingerprint is a JSON object of texts.")
        return cls(found)


def pipeline_fingerprint(served: ServedModel, settings: IngestSettings, mask_policy: str, size: int) -> Fingerprint:
    """The fingerprint of a run that stores vectors of `size` dimensions.

    `mask_policy` names everything that decides how texts are masked, and is empty where nothing is. Raises SetupError
    if the chosen parser is not installed.
    """
    parsing = settings.parse.model_dump(include={"ocr", "ocr_languages"} if settings.parse.ocr else {"ocr"})
    chunks = settings.chunks.model_dump() | {"tokens": min(settings.chunks.tokens, served.max_tokens)}
    columns = settings.sources.model_dump(include={"text_column", "id_column", "title_column"})
    return Fingerprint(
        {
            "parser": settings.parse.parser,
            "parser version": _parser_version(settings.parse.parser),
            **_texts("parse", parsing),
            **_texts("sources", columns),
            "chunker": CHUNKER_VERSION,
            **_texts("chunks", chunks),
            "mask": mask_policy,
            "model": served.name,
            "weights": served.fingerprint,
            "dimensions": str(size),
        }
    )


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What has changed between the components of two fingerprints, one sentence each, for people."""
    return [
        _sentence(name, old.get(name), new.get(name))
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    ]


def row_digest(chunk: Chunk, tenant: str) -> str:
    """16 hex characters over everything that is stored beside the vector, but for the run that stored it.

    A stored row with another digest has to be written again; its vector is still right, as long as the key is.
    """
    columns = {field.name: getattr(chunk, field.name) for field in fields(chunk)}
    columns["metadata"] = sorted(chunk.metadata.items())
    return _digest([*columns.items(), ("tenant", tenant)])


def _sentence(name: str, old: str | None, new: str | None) -> str:
    what = _LABELS.get(name, f"`{name}`")
    what = what[0].upper() + what[1:]
    if name in _SECRET:
        return f"{what} has changed."
    return f"{what} was {old or 'not set'} and is {new or 'not set'}."


def _texts(section: str, values: Mapping[str, object]) -> dict[str, str]:
    return {f"{section}.{name}": "" if value is None else str(value) for name, value in values.items()}


def _parser_version(parser: ParserName) -> str:
    """The library's version too, if one does the reading."""
    if parser == "builtin":
        return PARSER_VERSION
    for distribution in _DISTRIBUTIONS[parser]:
        with suppress(PackageNotFoundError):
            return f"{PARSER_VERSION} with {distribution} {version(distribution)}"
    raise SetupError(f"The parser {parser} is not installed: pip install 'embed-cluster[{parser}]'.")


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:_DIGITS]
