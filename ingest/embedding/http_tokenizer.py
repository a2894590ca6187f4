"""The served model's tokenizer, asked over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest.embedding.base import HttpAddress, ServedModel
from ingest.embedding.http import EndpointClient, no_endpoint, sendable
from serve_app.core.errors import SetupError
from serve_app.core.packing import pack
from serve_app.core.types import TokenIds

MAX_TEXTS = 512  # of one request; the endpoint's own limits are 2,048 texts and 1,000,000 characters
MAX_CHARACTERS = 250_000
PATIENCE_S = 300.0


class HttpTokenizer:
    """Batches of texts to POST /v1/tokenize, on a connection that is kept."""

    def __init__(self, address: HttpAddress, served: ServedModel, patience_s: float = PATIENCE_S) -> None:
        self._client = EndpointClient(address)
        self._model = served.name
        self._patience_s = patience_s
        self._empty: TokenIds | None = None

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """Raises SetupError.

        A text over MAX_CHARACTERS goes in parts: special tokens then stand between them too, so its count is a few
        tokens too high. Nothing of that length is ever embedded in one piece.
        """
        parts = [_parts(text) for text in texts]
        flat = [part for of_text in parts for part in of_text]
        ids = iter(
            [
                found
                for batch in pack([len(part) for part in flat], MAX_CHARACTERS, MAX_TEXTS)
                for found in self._ask(flat[batch.start : batch.stop])
            ]
        )
        return [_joined([next(ids) for _ in of_text]) if of_text else self._of_nothing() for of_text in parts]

    def close(self) -> None:
        self._client.close()

    def _of_nothing(self) -> TokenIds:
        """The special tokens around every text: as the endpoint takes no empty one, what two letters have in common."""
        if self._empty is None:
            one, other = self._ask(["a", "b"])
            shared = [token for token, twin in zip(one.tolist(), other.tolist(), strict=False) if token == twin]
            self._empty = np.array(shared, dtype=np.int32)
        return self._empty

    def _ask(self, texts: list[str]) -> list[TokenIds]:
        body: dict[str, object] = {"model": self._model, "input": list(map(sendable, texts)), "input_type": "document"}
        answer = self._client.ask_patiently("POST", "/v1/tokenize", body, self._patience_s)
        try:
            found = [_ids(item) for item in answer["data"]]
        except (LookupError, TypeError, ValueError) as error:
            raise no_endpoint(self._client.url) from error
        if len(found) != len(texts):
            raise SetupError(f"The endpoint tokenised {len(found)} of {len(texts)} texts; is it of this kind?")
        return found


def _ids(item: Any) -> TokenIds:
    return np.array(item["tokens"], dtype=np.int32)


def _joined(parts: list[TokenIds]) -> TokenIds:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parts(text: str) -> list[str]:
    return [text[start : start + MAX_CHARACTERS] for start in range(0, len(text), MAX_CHARACTERS)]
