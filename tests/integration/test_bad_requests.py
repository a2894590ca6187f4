"""Every bad request gets OpenAI's error body, the right status and the field's name, and never reaches the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from serve_app.core.types import ReplicaCounters
from tests.clusters import RunningCluster

BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str | None, str]] = {
    "unknown model": ({"model": "gpt-9"}, 404, "model", "model_not_found"),
    "empty string": ({"input": ""}, 400, "input", "invalid_value"),
    "empty list": ({"input": []}, 400, "input", "invalid_value"),
    "empty string in a list": ({"input": ["a", ""]}, 400, "input", "invalid_value"),
    "input of the wrong type": ({"input": {"text": "a"}}, 400, "input", "invalid_value"),
    "mixed list": ({"input": ["a", 1]}, 400, "input", "invalid_value"),
    "missing input": ({"input": None}, 400, "input", "invalid_value"),
    "too long": ({"input": "word " * 6000}, 400, "input", "context_length_exceeded"),
    "too many inputs": ({"input": ["a"] * 2049}, 400, "input", "batch_too_large"),
    "id outside the vocabulary": ({"input": [1, 999_999]}, 400, "input", "invalid_value"),
    "negative id": ({"input": [1, -1]}, 400, "input", "invalid_value"),
    "dimensions too small": ({"dimensions": 31}, 400, "dimensions", "dimensions_unsupported"),
    "dimensions too large": ({"dimensions": 257}, 400, "dimensions", "dimensions_unsupported"),
    "dimensions not whole": ({"dimensions": 64.5}, 400, "dimensions", "invalid_value"),
    "unknown encoding": ({"encoding_format": "int3"}, 400, "encoding_format", "invalid_value"),
    "unknown input type": ({"input_type": "passage"}, 400, "input_type", "invalid_value"),
    "instruction for a document": ({"input_type": "document", "instruction": "x"}, 400, "instruction", "invalid_value"),
    "query of token ids": ({"input": [5, 6], "input_type": "query"}, 400, "input", "invalid_value"),
    "unknown field": ({"dimension": 64}, 400, "dimension", "invalid_value"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_is_refused_by_name_before_the_engine(
    case: str, cluster: RunningCluster, counters: Callable[[], ReplicaCounters]
) -> None:
    change, status, param, code = BAD_REQUESTS[case]
    before = counters().texts["interactive"]

    answer = httpx.post(f"{cluster.endpoint}/v1/embeddings", json={"model": cluster.model, "input": "a", **change})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert counters().texts["interactive"] == before


@pytest.mark.parametrize(
    "body", [b"{", b"", b"[]", b'"text"', b'{"input": "\xff"}', b'{"input": "\\ud800", "model": 1}']
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, cluster: RunningCluster) -> None:
    answer = httpx.post(f"{cluster.endpoint}/v1/embeddings", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_over_the_limit_is_refused_chunked_or_not(cluster: RunningCluster) -> None:
    size = 33 * 2**20
    chunks = (b" " * 2**20 for _ in range(33))

    declared = httpx.post(f"{cluster.endpoint}/v1/embeddings", content=b" " * size, timeout=60)
    chunked = httpx.post(f"{cluster.endpoint}/v1/embeddings", content=chunks, timeout=60)

    assert (declared.status_code, chunked.status_code) == (413, 413)


def test_a_compressed_body_is_refused(cluster: RunningCluster) -> None:
    answer = httpx.post(f"{cluster.endpoint}/v1/embeddings", content=b"x", headers={"content-encoding": "gzip"})

    assert answer.status_code == 415


def test_unknown_addresses_and_methods_have_openai_bodies_too(cluster: RunningCluster) -> None:
    nowhere = httpx.get(f"{cluster.endpoint}/v1/nothing")
    wrong_method = httpx.get(f"{cluster.endpoint}/v1/embeddings")

    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "unknown_url")
    assert (wrong_method.status_code, wrong_method.json()["error"]["code"]) == (405, "method_not_allowed")


def test_the_openai_client_raises_its_own_exceptions(client: openai.OpenAI, cluster: RunningCluster) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt-9", input="a")
    with pytest.raises(openai.BadRequestError, match="32 to 256"):
        client.embeddings.create(model=cluster.model, input="a", dimensions=7)
