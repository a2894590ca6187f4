"""What ingestion can be told. Built once by `cluster.config`; nothing here reads files or environment."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class IngestSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_tokens: int = Field(400, ge=32, description="Longest chunk in tokens of the served model.")
    merge_below_tokens: int = Field(80, ge=0, description="Smaller neighbouring sections are joined.")
    dimensions: int | None = Field(None, ge=1, description="Size of the stored vectors; default: the model's own.")
    parsers: int = Field(
        4, ge=1, description="Most parsing actors at a time; the cluster's free CPUs are the other limit."
    )
    parse_cpus: float = Field(0.4, gt=0, description="Logical CPUs of one parsing task.")
    rows_per_write: int = Field(256, ge=1, description="Chunks embedded and written together.")
    slices_in_flight: int = Field(4, ge=1, description="Slices the job keeps under way at the replicas.")
    slice_timeout_s: float = Field(300.0, gt=0, description="Longest wait for one slice, queueing included.")

    @model_validator(mode="after")
    def _sections_fit(self) -> IngestSettings:
        if self.merge_below_tokens > self.chunk_tokens // 2:
            raise ValueError("merge_below_tokens must be at most half of chunk_tokens")
        return self
