"""The embeddings response and the model card, read back as clients do."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from openai.types import CreateEmbeddingResponse, Model

from serve_app.core.errors import InvalidRequest
from serve_app.core.types import Vectors
from serve_app.http.responses import Encoding, ModelCard, encode_response, encode_tokens
from serve_app.http.schemas import EmbeddingRequest
from tests.unit.serve_app.profiles import MINILM, QWEN3

FLOAT, BASE64 = Encoding("float", "float32"), Encoding("base64", "float32")
any_vectors = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-1, 1, width=32),
)


def decode(raw: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(raw)
    return value


def embeddings(raw: bytes) -> list[Any]:
    return [item["embedding"] for item in decode(raw)["data"]]


@given(any_vectors)
def test_floats_come_back_bit_for_bit(vectors: Vectors) -> None:
    rows = embeddings(encode_response(vectors, "m", FLOAT, 1))
    assert np.array(rows, dtype=np.float32).tobytes() == vectors.tobytes()


@given(any_vectors)
def test_base64_comes_back_bit_for_bit(vectors: Vectors) -> None:
    rows = embeddings(encode_response(vectors, "m", BASE64, 1))
    decoded = [np.frombuffer(base64.b64decode(row, validate=True), dtype="<f4") for row in rows]
    assert np.array(decoded).tobytes() == vectors.tobytes()


def test_a_float_response_has_exactly_the_shape_of_openai() -> None:
    vectors = np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32)
    raw = decode(encode_response(vectors, "qwen3", FLOAT, 7))
    response = CreateEmbeddingResponse.model_validate(raw)
    assert response.to_dict() == raw
    assert [(item.index, item.object, len(item.embedding)) for item in response.data] == [
        (0, "embedding", 2),
        (1, "embedding", 2),
    ]
    assert (response.model, response.object) == ("qwen3", "list")
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (7, 7)


def test_a_base64_response_differs_from_a_float_one_in_the_embeddings_only() -> None:
    vectors = np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32)
    as_float, as_base64 = (decode(encode_response(vectors, "m", form, 7)) for form in (FLOAT, BASE64))
    for item in [*as_float["data"], *as_base64["data"]]:
        del item["embedding"]
    assert as_float == as_base64


@pytest.mark.parametrize("name", ['quo"ted', "back\\slash", "通义/嵌入", "new\nline"])
def test_a_model_name_with_any_characters_is_valid_json(name: str) -> None:
    assert decode(encode_response(np.ones((1, 1), dtype=np.float32), name, FLOAT, 1))["model"] == name


def test_a_response_of_the_largest_request_numbers_every_row() -> None:
    vectors = np.ones((2048, 2), dtype=np.float32)
    raw = encode_response(vectors, "m", BASE64, 1)
    assert [item["index"] for item in decode(raw)["data"]] == list(range(2048))


@given(any_vectors)
def test_half_precision_is_the_nearest_float16(vectors: Vectors) -> None:
    rows = embeddings(encode_response(vectors, "m", Encoding("base64", "float16"), 1))
    decoded = [np.frombuffer(base64.b64decode(row, validate=True), dtype="<f2") for row in rows]
    assert np.array(decoded).tobytes() == vectors.astype(np.float16).tobytes()


def test_columns_of_a_wider_array_are_written_as_if_they_were_alone() -> None:
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert encode_response(wide[:, :3], "m", BASE64, 1) == encode_response(wide[:, :3].copy(), "m", BASE64, 1)


def test_half_precision_is_refused_for_decimal_numbers() -> None:
    wanted = EmbeddingRequest(model="m", input="a", embed_dtype="float16")
    with pytest.raises(InvalidRequest, match="base64") as caught:
        Encoding.of(wanted)
    assert caught.value.param == "embed_dtype"


def test_token_ids_are_counted_for_each_text_and_in_all() -> None:
    raw = decode(encode_tokens([np.array([5, 0], dtype=np.int32), np.array([7], dtype=np.int32)], QWEN3))
    assert (raw["total_tokens"], raw["max_tokens"], raw["model"]) == (3, 32_768, "qwen3-embedding-0.6b")
    assert [(item["index"], item["count"], item["tokens"]) for item in raw["data"]] == [(0, 2, [5, 0]), (1, 1, [7])]


def test_a_model_card_is_what_openai_clients_expect_and_says_what_the_model_can_do() -> None:
    card = ModelCard(QWEN3, ("text-embedding-3-small",), ("contracts",)).content()
    assert Model.model_validate(card).id == "qwen3-embedding-0.6b"
    assert card | {"default_instruction": ""} == {
        "id": "qwen3-embedding-0.6b",
        "object": "model",
        "created": 0,
        "owned_by": "embed-cluster",
        "aliases": ("text-embedding-3-small",),
        "native_dimensions": 1024,
        "min_dimensions": 32,
        "max_tokens": 32_768,
        "pooling": "last",
        "dtype": "bfloat16",
        "default_instruction": "",
        "presets": ("contracts",),
        "fingerprint": QWEN3.fingerprint,
    }


def test_the_card_of_a_model_without_instructions_offers_no_presets_and_its_native_size_only() -> None:
    card = ModelCard(MINILM, (), ("contracts",)).content()
    assert (card["min_dimensions"], card["native_dimensions"], card["presets"]) == (384, 384, ())
