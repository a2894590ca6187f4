"""LlamaIndex's OpenAILikeEmbedding: texts, queries, batches, asynchronous calls."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # type: ignore[import-untyped]

from tests.conformance.vectors import SAME, TEXTS, PlainEndpoint, least_cosine

pytestmark = [pytest.mark.usefixtures("left_open"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture
def embedding(plain: PlainEndpoint) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(
        model_name=plain.model, api_base=plain.base_url, api_key=plain.key, embed_batch_size=2, max_retries=0
    )


def test_texts_have_the_right_vectors_in_order_over_batches(
    embedding: OpenAILikeEmbedding, plain: PlainEndpoint
) -> None:
    assert least_cosine(embedding.get_text_embedding_batch(TEXTS), plain.vectors(TEXTS)) >= SAME


def test_a_query_is_the_text_as_it_is(embedding: OpenAILikeEmbedding, plain: PlainEndpoint) -> None:
    assert least_cosine([embedding.get_query_embedding(TEXTS[0])], plain.vectors(TEXTS[:1])) >= SAME


def test_the_async_calls_give_the_same(embedding: OpenAILikeEmbedding, plain: PlainEndpoint) -> None:
    vector = asyncio.run(embedding.aget_text_embedding(TEXTS[1]))

    assert least_cosine([vector], plain.vectors(TEXTS[1:2])) >= SAME


def test_dimensions_reach_the_cluster(plain: PlainEndpoint) -> None:
    small = OpenAILikeEmbedding(model_name=plain.model, api_base=plain.base_url, api_key=plain.key, dimensions=64)

    assert least_cosine([small.get_text_embedding(TEXTS[0])], plain.vectors(TEXTS[:1], dimensions=64)) >= SAME
