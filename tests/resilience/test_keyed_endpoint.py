"""A cluster that asks for keys and keeps a log of requests: what it lets in, and what it tells of a request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.commands.keys import create_key, revoke_key
from tests.canary import files_with, ray_logs
from tests.clusters import RunningCluster
from tests.node import wait_until
from tests.private_requests import CANARY, WRONG_KEY, assert_hidden, bearer, send_canaries
from tests.resilience.conftest import Keyed

SEEN_WITHIN_S = 10.0  # a change of the keys file, or a line of log; both take about a second
SECRET_AT = len("ek_12345678_")  # what stands before is the key's id, which may be told


@pytest.fixture
def http(small: Keyed) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=small.running.endpoint, timeout=60) as opened:
        yield opened


def access_log(cluster: RunningCluster) -> list[dict[str, Any]]:
    """What the Router has written to its standard output."""
    printed = [path.read_text(errors="replace") for path in ray_logs(cluster).glob("worker-*.out")]
    return [json.loads(line) for text in printed for line in text.splitlines() if line.startswith('{"time":')]


def assert_logged_once(cluster: RunningCluster, answers: list[httpx.Response]) -> list[dict[str, Any]]:
    """The lines of log of these requests, in order; they carry the ids and the statuses of the answers."""
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert set(Counter(ids).values()) == {1}

    def lines() -> list[dict[str, Any]]:
        return [line for line in access_log(cluster) if line["request_id"] in ids]

    wait_until(lambda: len(lines()) >= len(ids), "a line of log for each request", SEEN_WITHIN_S)
    logged = lines()
    assert [(line["request_id"], line["status"]) for line in logged] == [
        (request_id, answer.status_code) for request_id, answer in zip(ids, answers, strict=True)
    ]
    return logged


def wait_for_status(http: httpx.Client, path: str, key: str, status: int) -> None:
    wait_until(lambda: http.get(path, headers=bearer(key)).status_code == status, f"{status} at {path}", SEEN_WITHIN_S)


def test_neither_texts_nor_keys_are_in_the_access_log_or_any_other(small: Keyed, http: httpx.Client) -> None:
    running, model = small.running, small.running.model
    admin = create_key(small.keys_file, "metrics", ["admin"])
    wait_for_status(http, "/metrics", admin, 200)

    known = send_canaries(http, model, small.key)
    unknown = send_canaries(http, model, WRONG_KEY)
    metrics = http.get("/metrics", headers=bearer(admin))

    assert {answer.status_code for answer in known} == {200, 400, 404}
    assert {answer.status_code for answer in unknown} == {401}
    logged = assert_logged_once(running, [*known, *unknown])
    assert [line["key_id"] for line in logged] == [small.key[3:11]] * len(known) + [None] * len(unknown)
    assert "embed_requests_total" in metrics.text
    for secret in (CANARY, small.key[SECRET_AT:], admin[SECRET_AT:]):
        assert_hidden(secret, running, [*known, *unknown, metrics])


def test_a_harmless_request_id_is_in_the_answer_and_in_the_log(small: Keyed, http: httpx.Client) -> None:
    answer = embed(small, http, {"x-request-id": "Client-7.a_b"})

    assert answer.headers.get_list("x-request-id") == ["Client-7.a_b"]
    assert_logged_once(small.running, [answer])


@pytest.mark.parametrize("given", ["bad id;<x>", "i" * 129])
def test_any_other_request_id_is_replaced_in_the_answer_and_in_every_log(
    given: str, small: Keyed, http: httpx.Client
) -> None:
    answer = embed(small, http, {"x-request-id": given})

    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.headers["x-request-id"] != given
    assert_logged_once(small.running, [answer])
    assert files_with(given, [small.running.log, ray_logs(small.running)]) == []


def test_a_client_cannot_shorten_the_limit_of_its_request(small: Keyed, http: httpx.Client) -> None:
    assert embed(small, http, {"x-request-timeout-seconds": "0.001"}).status_code == 200


def test_a_key_counts_from_its_making_to_its_revocation_without_a_restart(small: Keyed, http: httpx.Client) -> None:
    routers = [process.pid for process in small.running.replicas("Router")]
    key = create_key(small.keys_file, "guest", ["embed"])

    wait_for_status(http, "/v1/models", key, 200)
    revoke_key(small.keys_file, key[3:11])
    wait_for_status(http, "/v1/models", key, 401)

    assert http.get("/v1/models", headers=small.headers).status_code == 200
    assert [process.pid for process in small.running.replicas("Router")] == routers


def embed(small: Keyed, http: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    body = {"model": small.running.model, "input": "late delivery"}
    return http.post("/v1/embeddings", json=body, headers={**small.headers, **headers})
