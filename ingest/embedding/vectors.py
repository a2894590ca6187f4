"""Vectors in an answer of POST /v1/embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pybase64

from ingest.embedding.http import EndpointClient, no_endpoint, sendable
from serve_app.core.types import Vectors

AS_BASE64 = {"encoding_format": "base64"}


def embed_texts(client: EndpointClient, model: str, texts: Sequence[str], fields: Mapping[str, object]) -> Vectors:
    """(texts, dimensions), one row a text, in one request with `fields` beside the input. Raises SetupError."""
    body = {"model": model, "input": list(map(sendable, texts)), **AS_BASE64, **fields}
    return vectors_in(client.ask("POST", "/v1/embeddings", body), len(texts), client.url)


def vectors_in(answer: Any, texts: int, url: str) -> Vectors:
    """(texts, dimensions), in the order of the input. Raises SetupError for an answer that is not of this kind."""
    try:
        items = answer["data"]
        rows = np.empty((texts, len(_row(items[0]))), dtype=np.float32)
        missing = set(range(texts))
        for item in items:
            missing.remove(item["index"])
            rows[item["index"]] = _row(item).reshape(rows.shape[1])  # which refuses rows of different lengths
    except (LookupError, TypeError, ValueError) as error:
        raise no_endpoint(url) from error
    if missing or not rows.size:
        raise no_endpoint(url)
    return rows


def _row(item: Any) -> Vectors:
    return np.frombuffer(pybase64.b64decode(item["embedding"], validate=True), dtype="<f4")
