"""Vectors of a plain HTTP request, without any client library: what every client's vectors are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
SAME = 0.9999  # the same text in another batch: bfloat16 sums in another order
TEXTS = [
    "Annual leave may be carried over into the first quarter.",
    "年假未休完的部分可以结转到下一年度第一季度。",
    "The supplier pays a penalty of half a percent for every started day of delay.",
]


@dataclass(frozen=True, slots=True)
class PlainEndpoint:
    """One served model at one address."""

    url: str
    model: str
    key: str = "EMPTY"

    @property
    def base_url(self) -> str:
        """What clients call the base URL or the API base."""
        return f"{self.url}/v1"

    def vectors(self, texts: Sequence[str], **fields: Any) -> Matrix:
        """(n, dimensions), in input order."""
        answer = httpx.post(
            f"{self.base_url}/embeddings",
            json={"model": self.model, "input": list(texts), **fields},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
        )
        answer.raise_for_status()
        return np.array([item["embedding"] for item in answer.json()["data"]])


def least_cosine(left: Sequence[Sequence[float]] | Matrix, right: Matrix) -> float:
    """The smallest cosine of rows at the same place; shapes must agree."""
    rows = np.array(left, dtype=np.float64)
    assert rows.shape == right.shape
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(right, axis=1)
    return float(((rows * right).sum(axis=1) / norms).min())
