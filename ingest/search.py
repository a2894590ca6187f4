"""Ask a collection a question: the cluster embeds it as a query, the sink finds the chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import numpy as np

from ingest.embedding.base import HttpAddress
from ingest.embedding.http import EndpointClient, first_model, no_endpoint
from ingest.embedding.vectors import embed_texts
from ingest.filters import parse_filter
from ingest.sinks.base import CollectionSpec, Hit, Query, Vector, VectorSink
from ingest.sinks.registry import open_sink
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors

Endpoint = HttpAddress
QueryFor = Callable[[CollectionSpec | None], Query]  # None: there is no such collection, or it does not say
QUERIES_AT_ONCE = 64


def embed_query(
    endpoint: Endpoint, model: str, text: str, instruction: str | None, dimensions: int | None
) -> tuple[Vector, str]:
    """The query's vector, from the HTTP endpoint like any client's, and the served name of the model that made it.

    `model` may be an alias or have a preset; an empty one means the endpoint's first. Raises SetupError with the
    server's own reason.
    """
    with EndpointClient(endpoint) as client:
        named = model or first_model(client)
        served = served_name(client, model) if model else named
        fields = {**_wish(instruction), **({"dimensions": dimensions} if dimensions is not None else {})}
        vector: Vector = embed_texts(client, named, [text], fields)[0]
        return vector, served


def embed_queries(endpoint: Endpoint, model: str, texts: Sequence[str], instruction: str | None) -> Vectors:
    """(texts, native dimensions), in several requests where there are many texts. Raises SetupError."""
    with EndpointClient(endpoint) as client:
        return np.concatenate(
            [
                embed_texts(client, model, texts[start : start + QUERIES_AT_ONCE], _wish(instruction))
                for start in range(0, len(texts), QUERIES_AT_ONCE)
            ]
        )


def served_name(client: EndpointClient, model: str) -> str:
    """The name under which the endpoint serves what may be an alias or have a preset. Raises SetupError."""
    try:
        return str(client.ask("GET", f"/v1/models/{quote(model)}")["id"])
    except (LookupError, TypeError) as error:
        raise no_endpoint(client.url) from error


def _wish(instruction: str | None) -> dict[str, object]:
    return {"input_type": "query", **({"instruction": instruction} if instruction is not None else {})}


def make_query(text: str, vector: Vector, limit: int, hybrid: bool, filter_text: str) -> Query:
    """With `hybrid`, exact words count beside meaning. Raises InvalidRequest for a filter that cannot be read."""
    return Query(
        vector=vector,
        limit=limit,
        text=text if hybrid else None,
        conditions=parse_filter(filter_text) if filter_text else (),
    )


def search(sink_uri: str, collection: str, query: Query, model: str) -> list[Hit]:
    """Best hits first; `model` made the query's vector. SetupError if another one made the collection's."""

    def checked(known: CollectionSpec | None) -> Query:
        if query.vector is not None:
            _check_model(known, collection, len(query.vector), model)
        return query

    with open_sink(sink_uri, create=False) as (sink, _):
        return search_named(sink, collection, checked)


def search_named(sink: VectorSink, name: str, query_for: QueryFor) -> list[Hit]:
    """Best hits first, from the collection that the name, mostly an alias, stands for. Raises SetupError.

    `query_for` is told what that collection was made for. Should the alias move meanwhile, the search stays with the
    collection that it has begun with; should that one fail, the new one is asked, once.
    """
    target = sink.target_of(name)
    try:
        return _search_in(sink, target or name, query_for)
    except SetupError:
        moved_to = sink.target_of(name)
        if moved_to in (None, target):
            raise
    return _search_in(sink, moved_to, query_for)


def _search_in(sink: VectorSink, collection: str, query_for: QueryFor) -> list[Hit]:
    return sink.search(collection, query_for(sink.spec_of(collection)))


def _check_model(known: CollectionSpec | None, collection: str, size: int, model: str) -> None:
    """Vectors of two models can be compared, but the result means nothing."""
    if known is not None and (known.model, known.dimensions) != (model, size):
        raise SetupError(
            f"Collection `{collection}` was made for {known.model}, {known.dimensions} dimensions; the query's vector "
            f"is of {model}, {size} dimensions. Choose that model with --model, or another "
            "collection; the dimensions come from the configuration."
        )
