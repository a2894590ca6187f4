"""What ingestion can be told. Built once by `cluster.config`; nothing here reads files or environment."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ParserName = Literal["builtin", "unstructured", "docling"]
MaskPolicy = Literal["mask", "token", "drop", "keep"]
MIB = 2**20


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParseSettings(_Settings):
    parser: ParserName = Field("builtin", description="`unstructured` and `docling` are extras of the same names.")
    ocr: bool = Field(False, description="Read scanned PDFs with tesseract (extra `ocr`) instead of reporting them.")
    ocr_languages: str = Field("chi_sim+eng", min_length=1, description="Tesseract's names, joined by +.")
    timeout_s: float = Field(120.0, gt=0, description="Longest time for one file.")
    memory_mib: int = Field(2048, ge=256, description="Most memory for one file, the parser included.")
    max_file_mib: int = Field(256, ge=1, description="Larger files are left out; JSONL and Parquet may be of any size.")
    actors: int = Field(
        4,
        ge=1,
        description="Most parsing actors at a time; the other limits: free CPUs, and one for every two of the cluster.",
    )
    cpus: float = Field(0.4, gt=0, description="Logical CPUs of one parsing actor.")


class ChunkSettings(_Settings):
    tokens: int = Field(400, ge=32, description="Longest chunk in tokens of the served model.")
    merge_below_tokens: int = Field(80, ge=0, description="Smaller neighbouring sections are joined.")
    context: bool = Field(
        False, description="Embed the document's title and heading path before the text; stored apart."
    )
    max_characters: int | None = Field(None, ge=100, description="A second limit beside `tokens`.")
    new_after_characters: int | None = Field(None, ge=50, description="A chunk of this size takes no further block.")
    combine_under_characters: int | None = Field(
        None, ge=0, description="Sections below it are joined, whatever their tokens."
    )

    @model_validator(mode="after")
    def _sections_fit(self) -> ChunkSettings:
        if self.merge_below_tokens > self.tokens // 2:
            raise ValueError("merge_below_tokens must be at most half of tokens")
        most = self.max_characters
        soft, small = self.new_after_characters, self.combine_under_characters
        if (soft is not None or small is not None) and most is None:
            raise ValueError("new_after_characters and combine_under_characters need max_characters")
        if most is not None and max(soft or 0, small or 0) > most:
            raise ValueError("new_after_characters and combine_under_characters must be at most max_characters")
        return self


class MaskSettings(_Settings):
    """Masking is on as soon as one entity has a policy other than `keep`."""

    default: MaskPolicy = Field("keep", description="For every entity that `entities` does not name.")
    entities: dict[str, MaskPolicy] = Field(default_factory=dict, description="For example {CN_ID_CARD: token}.")
    key_env: str = Field("EMBED_MASK_KEY", description="Environment variable with the secret that makes tokens.")
    vault: str | None = Field(None, description="File that keeps the originals of tokens, encrypted with that secret.")
    min_score: float = Field(0.4, ge=0, le=1, description="Findings the recogniser is less sure of are left alone.")

    @property
    def is_on(self) -> bool:
        return any(policy != "keep" for policy in (self.default, *self.entities.values()))


class SourceSettings(_Settings):
    allowed_roots: tuple[str, ...] = Field((), description="Folders and URL prefixes sources must lie in; empty: any.")
    allow_private_hosts: bool = Field(False, description="Fetch http(s) from private and loopback addresses too.")
    text_column: str = Field("text", min_length=1, description="Of JSONL and Parquet.")
    id_column: str | None = Field(None, description="Of JSONL and Parquet; default: the row's number.")
    title_column: str | None = Field(None, description="Of JSONL and Parquet.")


class IngestSettings(_Settings):
    parse: ParseSettings = ParseSettings()
    chunks: ChunkSettings = ChunkSettings()
    mask: MaskSettings = MaskSettings()
    sources: SourceSettings = SourceSettings()
    dimensions: int | None = Field(None, ge=1, description="Size of the stored vectors; default: the model's own.")
    ledger: str = Field(
        "", description="What has been ingested: sqlite:PATH or postgresql://…; default: beside the store."
    )
    rows_per_write: int = Field(256, ge=1, description="Chunks embedded and written together.")
    writers: int = Field(
        1, ge=1, description="Most actors that embed and write; one is enough for about a thousand chunks a second."
    )
    slices_in_flight: int = Field(4, ge=1, description="Most slices that a writer keeps under way at the replicas.")
    slice_timeout_s: float = Field(
        300.0, gt=0, description="The job ends when the cluster gives no sign of life for so long."
    )
    lease_s: float = Field(60.0, ge=5, description="A job that has died gives its collection free after this time.")
