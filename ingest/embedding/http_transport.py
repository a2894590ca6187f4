"""Slices as requests to POST /v1/embeddings."""

from __future__ import annotations

import httpx
import numpy as np
import orjson

from ingest.embedding.base import HttpAddress, ServedModel
from ingest.embedding.http import headers, json_of, no_endpoint, no_url, nothing_there
from ingest.embedding.refusals import refusal
from ingest.embedding.transport import Vector
from ingest.embedding.vectors import AS_BASE64, vectors_in
from serve_app.core.errors import ReplicaUnavailable, SetupError
from serve_app.core.types import TokenIds

CONNECT_TIMEOUT_S = 10.0
BULK = {"input_type": "document", "priority": "bulk", **AS_BASE64}


class HttpTransport:
    """One connection for every slice under way, all of them kept."""

    def __init__(self, address: HttpAddress, served: ServedModel, most_at_once: int) -> None:
        self._url = address.url.rstrip("/")
        self._served = served
        self._has_answered = False
        self._client = httpx.AsyncClient(
            headers=headers(address),
            limits=httpx.Limits(max_connections=most_at_once, max_keepalive_connections=most_at_once),
        )

    async def send(self, texts: list[TokenIds], timeout_s: float) -> list[Vector | None]:
        """A request with a faulty vector fails as a whole, so no vector is None."""
        answer = await self._post(self._body(texts), timeout_s)
        if answer.status_code != 200:
            raise refusal(answer)
        vectors = vectors_in(json_of(answer, self._url), len(texts), self._url)
        if vectors.shape[1] != self._served.native_dimensions:
            raise no_endpoint(self._url)
        return list(vectors)

    async def close(self) -> None:
        await self._client.aclose()

    def _body(self, texts: list[TokenIds]) -> bytes:
        ids = [np.ascontiguousarray(text, dtype=np.int32) for text in texts]
        return orjson.dumps({"model": self._served.name, "input": ids, **BULK}, option=orjson.OPT_SERIALIZE_NUMPY)

    async def _post(self, body: bytes, timeout_s: float) -> httpx.Response:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        url = f"{self._url}/v1/embeddings"
        try:
            answer = await self._client.post(url, content=body, timeout=timeout)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise no_url(url, error) from error
        except httpx.RequestError as error:
            if not self._has_answered and isinstance(error, httpx.ConnectError):
                raise SetupError(nothing_there(self._url)) from error
            raise ReplicaUnavailable(nothing_there(self._url)) from error
        self._has_answered = True
        return answer
