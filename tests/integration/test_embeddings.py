"""Right vectors through the official client: parity with transformers, every kind of input and encoding."""

from __future__ import annotations

import httpx
import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from tests.clusters import RunningCluster
from tests.reference import PARITY, SAME, Matrix, Reference, cosines

TEXTS = [
    "Annual leave may be carried over into the first quarter.",
    "年假未休完的部分可以结转到下一年度第一季度。",
    "x",
    "The supplier pays a penalty of half a percent for every started day of delay. " * 12,
]


def vectors(response: openai.types.CreateEmbeddingResponse) -> Matrix:
    return np.array([item.embedding for item in response.data], dtype=np.float32)


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_vectors_match_transformers_in_float32(
    encoding_format: str, cluster: RunningCluster, reference: Reference
) -> None:
    with openai.OpenAI(base_url=f"{cluster.endpoint}/v1", api_key="EMPTY") as client:
        response = client.embeddings.create(
            model=cluster.model,
            input=TEXTS,
            dimensions=64,
            encoding_format=encoding_format,  # type: ignore[arg-type]
        )
        got = _decoded(response)

    assert got.shape == (len(TEXTS), 64)
    assert cosines(got, reference.texts(TEXTS, 64)).min() >= PARITY
    assert np.linalg.norm(got, axis=1) == pytest.approx(1.0, abs=1e-5)


def _decoded(response: openai.types.CreateEmbeddingResponse) -> Matrix:
    """Asked for base64 by name, the client hands the string through; asked for nothing, it decodes it itself."""
    import base64

    rows = [item.embedding for item in response.data]
    return np.array(
        [np.frombuffer(base64.b64decode(row), dtype="<f4") if isinstance(row, str) else row for row in rows],
        dtype=np.float32,
    )


def test_the_unmodified_client_gets_native_vectors_in_input_order(
    client: openai.OpenAI, cluster: RunningCluster, reference: Reference
) -> None:
    response = client.embeddings.create(model=cluster.model, input=TEXTS)

    assert [item.index for item in response.data] == [0, 1, 2, 3]
    assert cosines(vectors(response), reference.texts(TEXTS, 256)).min() >= PARITY


def test_usage_counts_the_tokens_of_all_inputs(client: openai.OpenAI, cluster: RunningCluster) -> None:
    tokenizer = Tokenizer.from_file(str(cluster.checkpoint / "tokenizer.json"))
    expected = sum(len(tokenizer.encode(text).ids) for text in TEXTS)

    usage = client.embeddings.create(model=cluster.model, input=TEXTS).usage

    assert (usage.prompt_tokens, usage.total_tokens) == (expected, expected)


def test_token_ids_without_the_end_token_give_the_same_vector_as_the_text(
    client: openai.OpenAI, cluster: RunningCluster
) -> None:
    tokenizer = Tokenizer.from_file(str(cluster.checkpoint / "tokenizer.json"))
    ids = tokenizer.encode(TEXTS[0], add_special_tokens=False).ids

    from_text = vectors(client.embeddings.create(model=cluster.model, input=TEXTS[0]))
    from_ids = vectors(client.embeddings.create(model=cluster.model, input=ids))
    from_id_lists = vectors(client.embeddings.create(model=cluster.model, input=[ids, ids]))

    assert cosines(from_text, from_ids)[0] >= SAME
    assert cosines(from_id_lists, np.vstack([from_text, from_text])).min() >= SAME


def test_a_query_carries_the_exact_qwen3_instruction(client: openai.OpenAI, cluster: RunningCluster) -> None:
    task = "Find the clause that answers the question"

    as_query = client.embeddings.create(model=cluster.model, input="late delivery", extra_body={"instruction": task})
    by_hand = client.embeddings.create(model=cluster.model, input=f"Instruct: {task}\nQuery:late delivery")
    plain = client.embeddings.create(model=cluster.model, input="late delivery")

    assert cosines(vectors(as_query), vectors(by_hand))[0] >= SAME
    assert cosines(vectors(as_query), vectors(plain))[0] < SAME


def test_a_request_larger_than_a_slice_comes_back_whole_and_in_order(
    client: openai.OpenAI, cluster: RunningCluster
) -> None:
    texts = [f"Section {number}: deliveries within {number} days." for number in range(700)]

    fresh = {"cache-control": "no-cache"}
    whole = vectors(client.embeddings.create(model=cluster.model, input=texts, extra_headers=fresh))
    picked = [0, 255, 256, 511, 512, 699]
    alone = vectors(
        client.embeddings.create(model=cluster.model, input=[texts[row] for row in picked], extra_headers=fresh)
    )

    assert cosines(whole[picked], alone).min() >= SAME


def test_models_tell_what_a_client_needs_to_know(client: openai.OpenAI, cluster: RunningCluster) -> None:
    card = httpx.get(f"{cluster.endpoint}/v1/models/{cluster.model}").json()

    assert [model.id for model in client.models.list()] == [cluster.model]
    assert (card["native_dimensions"], card["min_dimensions"], card["max_tokens"]) == (256, 32, 2048)
    assert (card["pooling"], card["dtype"]) == ("last", "bfloat16")


def test_health_and_ready_answer(cluster: RunningCluster) -> None:
    assert httpx.get(f"{cluster.endpoint}/health").status_code == 200
    assert httpx.get(f"{cluster.endpoint}/ready").json() == {"status": "ready", "models": [cluster.model]}
