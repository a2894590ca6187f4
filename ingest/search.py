"""Ask a collection a question: the cluster embeds it as a query, the sink finds the chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from ingest.filters import parse_filter
from ingest.sinks.base import CollectionSpec, Hit, Query
from ingest.sinks.registry import open_sink
from serve_app.core.errors import SetupError

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the cluster answers HTTP, and the API key it wants, if any."""

    url: str
    key: str = ""


def embed_query(
    endpoint: Endpoint, model: str, text: str, instruction: str | None, dimensions: int | None
) -> tuple[list[float], str]:
    """The query's vector, from the HTTP endpoint like any client's, and the served name of the model that made it.

    `model` may be an alias or have a preset; an empty one means the endpoint's first. Raises SetupError with the
    server's own reason.
    """
    try:
        if model:
            served = str(_ask(endpoint, "GET", f"/v1/models/{quote(model)}")["id"])
        else:
            served = model = str(_ask(endpoint, "GET", "/v1/models")["data"][0]["id"])
        answer = _ask(endpoint, "POST", "/v1/embeddings", _request(model, text, instruction, dimensions))
        return [float(value) for value in answer["data"][0]["embedding"]], served
    except (ValueError, LookupError, TypeError) as error:
        raise SetupError(
            f"What answers at {endpoint.url} is no embedding endpoint, as its answer cannot be read; give --endpoint."
        ) from error


def _request(model: str, text: str, instruction: str | None, dimensions: int | None) -> dict[str, object]:
    body: dict[str, object] = {"model": model, "input": text, "input_type": "query"}
    if instruction is not None:
        body["instruction"] = instruction
    if dimensions is not None:
        body["dimensions"] = dimensions
    return body


def make_query(text: str, vector: list[float], limit: int, hybrid: bool, filter_text: str) -> Query:
    """With `hybrid`, exact words count beside meaning. Raises InvalidRequest for a filter that cannot be read."""
    return Query(
        vector=np.array(vector, dtype=np.float32),
        limit=limit,
        text=text if hybrid else None,
        conditions=parse_filter(filter_text) if filter_text else (),
    )


def search(sink_uri: str, collection: str, query: Query, model: str) -> list[Hit]:
    """Best hits first; `model` made the query's vector. SetupError if another one made the collection's."""
    with open_sink(sink_uri, create=False) as (sink, _):
        _check_model(sink.spec_of(collection), CollectionSpec(collection, len(query.vector), model))
        return sink.search(collection, query)


def _check_model(known: CollectionSpec | None, query: CollectionSpec) -> None:
    """Vectors of two models can be compared, but the result means nothing."""
    if known is not None and known != query:
        raise SetupError(
            f"Collection `{query.name}` was made for {known.model}, {known.dimensions} dimensions; the query's vector "
            f"is of {query.model}, {query.dimensions} dimensions. Choose that model with --model, or another "
            "collection; the dimensions come from the configuration."
        )


def _ask(endpoint: Endpoint, method: str, path: str, body: dict[str, object] | None = None) -> Any:
    url = endpoint.url + path
    headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S)
    except httpx.InvalidURL as error:
        raise SetupError(f"The endpoint {url} is no URL ({error}); give one such as http://127.0.0.1:8000.") from error
    except httpx.RequestError as error:
        raise SetupError(
            f"No cluster answers at {url}: start one with `embedctl serve`, or give --endpoint."
        ) from error
    if answer.status_code != 200:
        raise SetupError(f"The cluster refused the query: {_reason(answer)}")
    return answer.json()


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
