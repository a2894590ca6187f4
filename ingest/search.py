"""Ask a collection a question: the cluster embeds it as a query, the sink finds the chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import numpy as np

from ingest.embedding.base import HttpAddress
from ingest.embedding.http import EndpointClient, no_endpoint, served_models
from ingest.embedding.vectors import embed_texts
from ingest.filters import parse_filter
from ingest.sinks.base import CollectionSpec, Hit, Query, Vector, VectorSink
from ingest.sinks.registry import open_sink
from serve_app.core.errors import SetupError
from serve_app.core.types import Vectors

Endpoint = HttpAddress
QueryFor = Callable[[CollectionSpec | None], Query]  # None: there is no such collection, or it does not say
QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Question:
    """What is embedded: by the model that the collection was made for, unless another one is named."""

    text: str
    model: str = ""  # served name or alias, also with a preset
    instruction: str | None = None
    dimensions: int | None = None  # where the collection does not say how many its vectors have; None: the model's own


def embed_queries(endpoint: Endpoint, model: str, texts: Sequence[str], instruction: str | None) -> Vectors:
    """(texts, native dimensions), in several requests where there are many texts. Raises SetupError."""
    with EndpointClient(endpoint) as client:
        return np.concatenate(
            [
                embed_texts(client, model, texts[start : start + QUERIES_AT_ONCE], _wish(instruction))
                for start in range(0, len(texts), QUERIES_AT_ONCE)
            ]
        )


def make_query(text: str, limit: int, hybrid: bool, filter_text: str, tenant: str) -> Query:
    """Without its vector, which depends on the collection. With `hybrid`, exact words count beside meaning.

    Raises InvalidRequest for a filter that cannot be read.
    """
    return Query(
        vector=None,
        limit=limit,
        text=text if hybrid else None,
        conditions=parse_filter(filter_text) if filter_text else (),
        tenant=tenant or None,
    )


def search(sink_uri: str, collection: str, endpoint: Endpoint, question: Question, query: Query) -> list[Hit]:
    """Best hits first, of `query` with the vector of the question.

    SetupError, which names the models, if none that may embed it is the one that the collection was made for; with
    the server's or the store's own reason if one of them refuses.
    """
    with EndpointClient(endpoint) as client:
        models = [_served_name(client, question.model)] if question.model else served_models(client)

        def with_vector(known: CollectionSpec | None) -> Query:
            return replace(query, vector=_embedded(client, question, models, known))

        with open_sink(sink_uri, create=False) as (sink, _):
            return search_named(sink, collection, with_vector)


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


def _embedded(
    client: EndpointClient, question: Question, models: Sequence[str], known: CollectionSpec | None
) -> Vector:
    """`models`: served names of those that may embed it. Vectors of two models can be compared, and mean nothing."""
    model, dimensions = models[0], question.dimensions
    if known is not None:
        model, dimensions = known.model, known.dimensions
        if model not in models:
            raise _made_for_another(known, question, models)
    fields = {**_wish(question.instruction), **({"dimensions": dimensions} if dimensions is not None else {})}
    vector: Vector = embed_texts(client, question.model or model, [question.text], fields)[0]
    return vector


def _made_for_another(known: CollectionSpec, question: Question, models: Sequence[str]) -> SetupError:
    made = f"Collection `{known.name}` was made for {known.model}, {known.dimensions} dimensions"
    if question.model:
        return SetupError(f"{made}, and --model is {models[0]}: leave it out, or choose another collection.")
    return SetupError(
        f"{made}, and the cluster serves only {', '.join(models)}: serve that model too, or choose another collection."
    )


def _served_name(client: EndpointClient, model: str) -> str:
    """The name under which the endpoint serves what may be an alias or have a preset. Raises SetupError."""
    try:
        return str(client.ask("GET", f"/v1/models/{quote(model)}")["id"])
    except (LookupError, TypeError) as error:
        raise no_endpoint(client.url) from error


def _wish(instruction: str | None) -> dict[str, object]:
    return {"input_type": "query", **({"instruction": instruction} if instruction is not None else {})}
