"""Files in, documents out: one module a format, none imported before a file of its format arrives."""

from __future__ import annotations

from ingest.parse.registry import parse

__all__ = ["parse"]
