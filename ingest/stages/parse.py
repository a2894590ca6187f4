"""First stage: files in, chunks with their token ids out. What cannot be read becomes a row that says why."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

import pyarrow as pa

from ingest.chunk import Chunker
from ingest.embedding.base import open_tokenizer
from ingest.fingerprint import row_digest
from ingest.language import detect
from ingest.ledger.records import DeadStage
from ingest.mask.masker import Masker
from ingest.metadata import check_size, described, merge
from ingest.metadata import read_sidecar as parse_sidecar
from ingest.parse.guard import GuardedParser
from ingest.records import Chunk, Document, Scalar, document_text
from ingest.rows import END, PROBLEM, chunk_row, table_of
from ingest.settings import MIB
from ingest.sources.corpus import CORPUS_FORMATS, read_documents
from ingest.sources.read import read_bytes, read_sidecar
from ingest.stages.sharing import be_nice
from ingest.work import Sealed, WorkUnit
from serve_app.core.errors import DocumentError

ROWS_PER_TABLE = 256


@dataclass(frozen=True, slots=True)
class Problem:
    """A document, or a record of a corpus, that is left out."""

    stage: DeadStage
    part: str
    error: DocumentError


@dataclass(slots=True)
class _Unit:
    """What one unit of work has come to so far."""

    work: WorkUnit
    chunks: int = 0
    problems: int = 0
    pii: Counter[str] = field(default_factory=Counter)

    def problem_row(self, problem: Problem) -> dict[str, object]:
        return {
            **self._row(PROBLEM),
            "stage": problem.stage,
            "part": problem.part,
            "reason": problem.error.reason,
            "message": problem.error.message,
        }

    def end_row(self) -> dict[str, object]:
        return {**self._row(END), "chunks": self.chunks, "problems": self.problems, "pii": json.dumps(self.pii)}

    def _row(self, kind: str) -> dict[str, object]:
        return {"kind": kind, "source": self.work.source, "source_file": self.work.file.source_file}


class ParseAndChunk:
    """An actor. Takes tables with one column, `unit`."""

    def __init__(self, sealed: Sealed, niceness: int = 0) -> None:
        be_nice(niceness)
        setup = sealed.open()
        settings = setup.settings
        self._settings = settings
        self._tenant = setup.tenant
        self._tokenizer = open_tokenizer(setup.address, setup.served)
        self._chunker = Chunker(
            lambda texts: [len(ids) for ids in self._tokenizer.encode(texts)], settings.chunks, setup.served.max_tokens
        )
        self._parser = GuardedParser(settings.parse)
        self._part_key = setup.mask_secret.encode()[:64]
        self._masker = Masker(settings.mask, setup.mask_secret) if settings.mask.is_on else None

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for text in batch.column("unit").to_pylist():
            yield from self._tables(_Unit(WorkUnit.from_json(text)))

    def _tables(self, unit: _Unit) -> Iterator[pa.Table]:
        problems: list[dict[str, object]] = []
        waiting: list[Chunk] = []
        for found in self._chunks(unit):
            if isinstance(found, Problem):
                unit.problems += 1
                problems.append(unit.problem_row(found))
                if len(problems) == ROWS_PER_TABLE:
                    yield table_of(problems)
                    problems = []
                continue
            waiting.append(found)
            if len(waiting) == ROWS_PER_TABLE:
                yield self._table(waiting)
                waiting = []
        if waiting:
            yield self._table(waiting)
        yield table_of([*problems, unit.end_row()])

    def _table(self, chunks: list[Chunk]) -> pa.Table:
        """Token ids are made for many chunks at once, whichever documents they are of: that is what is fast."""
        ids = self._tokenizer.encode([chunk.embedded_text for chunk in chunks])
        return table_of(
            [chunk_row(chunk, own, row_digest(chunk, self._tenant)) for chunk, own in zip(chunks, ids, strict=True)]
        )

    def _chunks(self, unit: _Unit) -> Iterator[Chunk | Problem]:
        for document in self._documents(unit.work):
            if isinstance(document, Problem):
                yield document
                continue
            try:
                chunks = self._cut(unit, document)
            except _Refused as refused:
                yield refused.problem
                continue
            unit.chunks += len(chunks)
            yield from chunks

    def _masked_part(self, part: str) -> str:
        """A record's id may be a person's number; then a digest of it stands for it, so that records stay apart."""
        if self._masker is None or self._masker.mask_text(part).text == part:
            return part
        return hashlib.blake2b(part.encode(), key=self._part_key, digest_size=8).hexdigest()

    def _documents(self, work: WorkUnit) -> Iterator[Document | Problem]:
        file = work.file
        try:
            if file.format in CORPUS_FORMATS:
                for found in read_documents(file, self._settings.sources):
                    if isinstance(found, Document):
                        yield replace(found, source=work.source)
                    else:
                        yield Problem("parse", self._masked_part(found[0]), found[1])
                return
            content = read_bytes(file, self._settings.sources, self._settings.parse.max_file_mib * MIB)
            parsed = self._parser.parse(file, content)
            parsed = described(parsed, merge(parsed.metadata, self._sidecar(work)))
            yield replace(parsed, source=work.source)
        except DocumentError as error:
            yield Problem("parse", "", error)

    def _sidecar(self, work: WorkUnit) -> dict[str, Scalar]:
        content = read_sidecar(work.file, self._settings.sources)
        return parse_sidecar(content, PurePosixPath(work.file.sidecar or "").name) if content else {}

    def _cut(self, unit: _Unit, document: Document) -> list[Chunk]:
        if self._masker is not None:
            with _stage("mask", ""):
                document, found = self._masker.mask(document)
                document = replace(document, part=self._masked_part(document.part))
            unit.pii.update(found)
        with _stage("parse", document.part):
            check_size(document.metadata)
        if not document.language:
            document = replace(document, language=detect(document_text(document)))
        with _stage("chunk", document.part):
            chunks = self._chunker.chunks(document)
            if not chunks:
                raise DocumentError(f"{document.source_file} holds no text to embed.", reason="empty")
        return chunks


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.error.message)
        self.problem = problem


@contextmanager
def _stage(stage: DeadStage, part: str) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise _Refused(Problem(stage, part, error)) from error
