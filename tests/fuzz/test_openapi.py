"""Two thousand requests made from the served OpenAPI document, right and wrong ones: every answer is as documented."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clusters import RunningCluster

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CASES = {  # (method, path, kind of data): how many
    ("POST", "/v1/embeddings", RIGHT): 800,
    ("POST", "/v1/embeddings", WRONG): 700,
    ("POST", "/v1/tokenize", RIGHT): 200,
    ("POST", "/v1/tokenize", WRONG): 200,
    ("GET", "/v1/models/{model}", RIGHT): 150,
}


def test_there_are_two_thousand_cases() -> None:
    assert sum(CASES.values()) >= 2000


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_every_answer_is_as_documented(
    method: str, path: str, mode: GenerationMode, document: BaseSchema, http: httpx.Client, cluster: RunningCluster
) -> None:
    cases = document[path][method].as_strategy(generation_mode=mode)

    @settings(
        max_examples=CASES[method, path, mode],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, is_aimed=st.sampled_from([True] * 9 + [False]))
    def check(case: Case[Any], is_aimed: bool) -> None:
        aimed = _aim(case, cluster.model) if is_aimed else case
        aimed.validate_response(_send(aimed, http), checks=CHECKS)

    check()


def _aim(case: Case[Any], model: str) -> Case[Any]:
    """The case at the served model and a size that it has: otherwise most are refused before anything else is read."""
    body: Any = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = model
        if type(body.get("dimensions")) is int:
            body["dimensions"] = 32 + body["dimensions"] % 225
    return case


def _send(case: Case[Any], http: httpx.Client) -> httpx.Response:
    """Over one kept-alive connection: a new one for each case would take longer than its answer."""
    given = case.as_transport_kwargs(base_url=str(http.base_url))
    return http.request(
        given["method"],
        given["url"],
        headers=dict(given["headers"]),
        params=given.get("params"),
        json=given.get("json"),
        content=given.get("data"),
    )
