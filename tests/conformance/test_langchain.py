"""LangChain's OpenAIEmbeddings, and the trap it sets for every server that is not OpenAI's."""

from __future__ import annotations

import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from openai import BadRequestError
from pydantic import SecretStr

from tests.conformance.vectors import SAME, TEXTS, PlainEndpoint, least_cosine

pytestmark = [pytest.mark.usefixtures("left_open"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


def embeddings(endpoint: PlainEndpoint, sends_text: bool, model: str = "") -> OpenAIEmbeddings:
    return OpenAIEmbeddings(  # type: ignore[call-arg]  # its types lack the names that its documents use
        base_url=endpoint.base_url,
        api_key=SecretStr(endpoint.key),
        model=model or endpoint.model,
        check_embedding_ctx_length=not sends_text,
        max_retries=0,
    )


@pytest.fixture
def bytes_for_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that is not the model's in place of OpenAI's, whose file comes from the network: one id a byte."""
    ranks = {bytes([value]): value for value in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda _: encoding)


def test_texts_and_queries_have_the_right_vectors(plain: PlainEndpoint) -> None:
    langchain = embeddings(plain, sends_text=True)

    assert least_cosine(langchain.embed_documents(TEXTS), plain.vectors(TEXTS)) >= SAME
    assert least_cosine([langchain.embed_query(TEXTS[0])], plain.vectors(TEXTS[:1])) >= SAME


def test_a_preset_in_the_model_name_instructs_queries(strict: PlainEndpoint, plain: PlainEndpoint) -> None:
    asked = embeddings(strict, sends_text=True, model=f"{strict.model}@law").embed_query(TEXTS[0])

    assert least_cosine([asked], plain.vectors(TEXTS[:1])) < SAME


@pytest.mark.usefixtures("bytes_for_tokens")
def test_by_default_it_sends_ids_of_another_tokenizer_and_gets_wrong_vectors(plain: PlainEndpoint) -> None:
    wrong = embeddings(plain, sends_text=False).embed_documents(TEXTS)

    assert least_cosine(wrong, plain.vectors(TEXTS)) < 0.9


@pytest.mark.usefixtures("bytes_for_tokens")
def test_a_cluster_that_rejects_ids_names_the_setting(strict: PlainEndpoint) -> None:
    with pytest.raises(BadRequestError, match="check_embedding_ctx_length=False") as refused:
        embeddings(strict, sends_text=False).embed_documents(TEXTS)

    assert (refused.value.status_code, refused.value.param) == (400, "input")


def test_a_cluster_that_rejects_ids_takes_text(strict: PlainEndpoint, plain: PlainEndpoint) -> None:
    right = embeddings(strict, sends_text=True).embed_documents(TEXTS)

    assert least_cosine(right, plain.vectors(TEXTS)) >= SAME
