"""Haystack's OpenAITextEmbedder and OpenAIDocumentEmbedder."""

from __future__ import annotations

import pytest
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret

from tests.conformance.vectors import SAME, TEXTS, PlainEndpoint, least_cosine

pytestmark = [pytest.mark.usefixtures("left_open"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_a_text_has_the_right_vector_and_usage(plain: PlainEndpoint) -> None:
    embedder = OpenAITextEmbedder(
        api_key=Secret.from_token(plain.key), model=plain.model, api_base_url=plain.base_url, max_retries=0
    )

    answer = embedder.run(TEXTS[0])

    assert least_cosine([answer["embedding"]], plain.vectors(TEXTS[:1])) >= SAME
    assert answer["meta"]["usage"]["prompt_tokens"] > 0


def test_documents_have_the_right_vectors_over_batches(plain: PlainEndpoint) -> None:
    embedder = OpenAIDocumentEmbedder(
        api_key=Secret.from_token(plain.key),
        model=plain.model,
        api_base_url=plain.base_url,
        dimensions=64,
        batch_size=2,
        progress_bar=False,
        raise_on_failure=True,
    )

    documents = embedder.run([Document(content=text) for text in TEXTS])["documents"]

    vectors = [document.embedding for document in documents]
    assert least_cosine(vectors, plain.vectors(TEXTS, dimensions=64)) >= SAME
