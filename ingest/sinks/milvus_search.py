"""Dense, BM25 and hybrid search in Milvus."""

from __future__ import annotations

from typing import Any, Literal

from pymilvus import AnnSearchRequest, RRFRanker  # type: ignore[import-untyped]

from ingest.sinks.base import Hit, Query
from ingest.sinks.milvus_connection import MilvusConnection
from ingest.sinks.milvus_filter import filter_clause
from ingest.sinks.milvus_rows import HIT_COLUMNS, hit
from serve_app.core.errors import SetupError

MIN_CANDIDATES = 64  # the beam of a dense search, and how many hits of each ranking hybrid search fuses
RRF_K = 60  # the usual constant of reciprocal rank fusion
_BM25_PARAMS = {"metric_type": "BM25", "params": {}}

# `Strong` waits until the server has worked off every earlier write, `Bounded` only for those older than five seconds.
Consistency = Literal["Strong", "Bounded"]


def search(milvus: MilvusConnection, collection: str, query: Query, consistency: Consistency) -> list[Hit]:
    """SetupError if the query has a text and the server is too old for BM25."""
    if query.text is not None and not milvus.server.has_bm25:
        raise SetupError(
            f"{milvus.place} is version {milvus.server.version} and has no BM25, which came with 2.5: "
            "search by meaning alone, or upgrade it and ingest anew."
        )
    with milvus.errors():
        is_hybrid = query.text is not None and query.vector is not None
        ask = _both if is_hybrid else _one_ranking
        found = ask(milvus, collection, query, consistency)
    # Lite tells BM25 with a minus sign, while cosines keep theirs.
    is_bm25 = query.vector is None
    return [hit(abs(one["distance"]) if is_bm25 else one["distance"], one["entity"]) for one in found]


def _one_ranking(milvus: MilvusConnection, collection: str, query: Query, consistency: Consistency) -> Any:
    answers = milvus.client.search(
        collection,
        [query.vector if query.text is None else query.text],
        filter=filter_clause(query.conditions, query.tenant),
        limit=query.limit,
        output_fields=HIT_COLUMNS,
        search_params=_dense_params(query.limit) if query.text is None else _BM25_PARAMS,
        anns_field="dense" if query.text is None else "sparse",
        timeout=milvus.timeout_s,
        consistency_level=consistency,
    )
    return answers[0]


def _both(milvus: MilvusConnection, collection: str, query: Query, consistency: Consistency) -> Any:
    candidates = max(MIN_CANDIDATES, query.limit)
    clause = filter_clause(query.conditions, query.tenant)
    dense = AnnSearchRequest([query.vector], "dense", _dense_params(candidates), candidates, expr=clause)
    sparse = AnnSearchRequest([query.text], "sparse", _BM25_PARAMS, candidates, expr=clause)
    answers = milvus.client.hybrid_search(
        collection,
        [dense, sparse],
        RRFRanker(RRF_K),
        limit=query.limit,
        output_fields=HIT_COLUMNS,
        timeout=milvus.timeout_s,
        consistency_level=consistency,
    )
    return answers[0]


def _dense_params(candidates: int) -> dict[str, Any]:
    return {"metric_type": "COSINE", "params": {"ef": max(MIN_CANDIDATES, candidates)}}
