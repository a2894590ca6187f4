"""The official OpenAI client, sync and async: every kind of input, every encoding, our fields through `extra_body`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import CreateEmbeddingResponse
from tokenizers import Tokenizer

from tests.clusters import RunningCluster
from tests.conformance.conftest import PRESETS
from tests.conformance.vectors import SAME, TEXTS, Matrix, PlainEndpoint, least_cosine

TASK = "Find the clause that answers the question"


@pytest.fixture(scope="module")
def openai_client(plain: PlainEndpoint) -> Iterator[OpenAI]:
    with OpenAI(base_url=plain.base_url, api_key=plain.key, max_retries=0) as opened:
        yield opened


def rows(response: CreateEmbeddingResponse) -> Matrix:
    assert [item.index for item in response.data] == list(range(len(response.data)))
    return np.array([item.embedding for item in response.data])


def token_ids(checkpoint: RunningCluster, texts: list[str]) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(checkpoint.checkpoint / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in texts]


def test_a_string_gives_one_vector(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(model=plain.model, input=TEXTS[0])

    assert response.model == plain.model
    assert least_cosine(rows(response), plain.vectors(TEXTS[:1])) >= SAME


def test_a_list_of_strings_gives_vectors_in_order(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(model=plain.model, input=TEXTS)

    assert least_cosine(rows(response), plain.vectors(TEXTS)) >= SAME


def test_token_ids_give_the_vector_of_their_text(
    openai_client: OpenAI, plain: PlainEndpoint, cluster: RunningCluster
) -> None:
    ids = token_ids(cluster, TEXTS)

    one = rows(openai_client.embeddings.create(model=plain.model, input=ids[0]))
    many = rows(openai_client.embeddings.create(model=plain.model, input=ids))

    assert least_cosine(one, plain.vectors(TEXTS[:1])) >= SAME
    assert least_cosine(many, plain.vectors(TEXTS)) >= SAME


def test_float_is_left_as_floats(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(model=plain.model, input=TEXTS, encoding_format="float")

    assert least_cosine(rows(response), plain.vectors(TEXTS)) >= SAME


def test_base64_asked_for_by_name_is_little_endian_float32(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(model=plain.model, input=TEXTS, encoding_format="base64")

    encoded = [str(item.embedding) for item in response.data]
    decoded = np.array([np.frombuffer(base64.b64decode(row), dtype="<f4") for row in encoded])
    assert least_cosine(decoded, plain.vectors(TEXTS)) >= SAME


def test_float16_halves_a_base64_answer(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(
        model=plain.model, input=TEXTS, encoding_format="base64", extra_body={"embed_dtype": "float16"}
    )

    encoded = [str(item.embedding) for item in response.data]
    decoded = np.array([np.frombuffer(base64.b64decode(row), dtype="<f2") for row in encoded])
    assert least_cosine(decoded.astype(np.float64), plain.vectors(TEXTS)) >= SAME


def test_dimensions_cut_and_renormalise(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    cut = rows(openai_client.embeddings.create(model=plain.model, input=TEXTS, dimensions=64))

    assert least_cosine(cut, plain.vectors(TEXTS)[:, :64]) >= SAME
    assert np.linalg.norm(cut, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_extra_body_makes_queries(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    told = openai_client.embeddings.create(model=plain.model, input=TEXTS[0], extra_body={"instruction": TASK})
    default = openai_client.embeddings.create(model=plain.model, input=TEXTS[0], extra_body={"input_type": "query"})

    assert least_cosine(rows(told), plain.vectors([f"Instruct: {TASK}\nQuery:{TEXTS[0]}"])) >= SAME
    assert least_cosine(rows(told), rows(default)) < SAME


def test_extra_body_cuts_long_inputs_at_either_end(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    long = "head " * 3000 + "tail"

    end = rows(openai_client.embeddings.create(model=plain.model, input=long, extra_body={"truncate": "end"}))
    start = rows(openai_client.embeddings.create(model=plain.model, input=long, extra_body={"truncate": "start"}))

    assert end.shape == start.shape == plain.vectors(["x"]).shape
    assert least_cosine(end, start) < SAME


def test_bulk_priority_gives_the_same_vectors(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    response = openai_client.embeddings.create(model=plain.model, input=TEXTS, extra_body={"priority": "bulk"})

    assert least_cosine(rows(response), plain.vectors(TEXTS)) >= SAME


def test_a_preset_behind_the_model_name_instructs(strict: PlainEndpoint, plain: PlainEndpoint) -> None:
    with OpenAI(base_url=strict.base_url, api_key=strict.key) as opened:
        named = rows(opened.embeddings.create(model=f"{strict.model}@law", input=TEXTS[0]))

    assert least_cosine(named, plain.vectors(TEXTS[:1], instruction=PRESETS["law"])) >= SAME


def test_the_async_client_gets_the_same_vectors_at_once(plain: PlainEndpoint) -> None:
    async def all_at_once() -> list[CreateEmbeddingResponse]:
        async with AsyncOpenAI(base_url=plain.base_url, api_key=plain.key, max_retries=0) as opened:
            calls = (opened.embeddings.create(model=plain.model, input=text) for text in TEXTS)
            return await asyncio.gather(*calls)

    vectors = np.vstack([rows(response) for response in asyncio.run(all_at_once())])

    assert least_cosine(vectors, plain.vectors(TEXTS)) >= SAME


def test_the_model_card_reaches_the_client_with_its_own_fields(openai_client: OpenAI, plain: PlainEndpoint) -> None:
    listed = openai_client.models.list().data[0]
    card = openai_client.models.retrieve(plain.model).model_dump()

    assert listed.id == card["id"] == plain.model
    assert (card["native_dimensions"], card["min_dimensions"]) == (256, 32)
